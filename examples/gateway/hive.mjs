// Hive's gateway: hive-gateway supergraph SUPERGRAPH --config-path hive.mjs --host 127.0.0.1 --port PORT
import { defineConfig } from '@graphql-hive/gateway';

export const gatewayConfig = defineConfig({
  // What an operation may cost, by the schema's @cost and @listSize; the server's own limit is QUERY_COST.
  demandControl: { maxCost: 20000 },
  propagateHeaders: {
    fromClientToSubgraphs({ request }) {
      const token = request.headers.get('authorization');
      return token ? { authorization: token } : undefined;
    },
  },
});
