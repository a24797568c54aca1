// Hive's gateway: hive-gateway supergraph SUPERGRAPH --config-path hive.mjs --host 127.0.0.1 --port PORT
import { defineConfig } from '@graphql-hive/gateway';

export const gatewayConfig = defineConfig({
  // What an operation may cost, by the schema's @cost and @listSize; the server's own limit is QUERY_COST.
  demandControl: { maxCost: 20000 },
  // Photos may be sent through the gateway.
  multipart: true,
  propagateHeaders: {
    fromClientToSubgraphs({ request }) {
      // The second tells the server that no page of another site has sent a form with a photo.
      const passed = ['authorization', 'graphql-require-preflight'].map((name) => [name, request.headers.get(name)]);
      // With it the dataset server runs what this gateway makes up, though it may list what others run.
      const own = ['router-authorization', process.env.GATEWAY_SECRET];
      return Object.fromEntries([...passed, own].filter(([, value]) => value));
    },
  },
});
