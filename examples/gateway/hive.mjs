// Hive's gateway: hive-gateway supergraph SUPERGRAPH --config-path hive.mjs --host 127.0.0.1 --port PORT
import { defineConfig } from '@graphql-hive/gateway';

export const gatewayConfig = defineConfig({
  propagateHeaders: {
    fromClientToSubgraphs({ request }) {
      const token = request.headers.get('authorization');
      return token ? { authorization: token } : undefined;
    },
  },
});
