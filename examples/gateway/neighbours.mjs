// Two subgraphs beside the dataset server, which refer to its images and datasets:
// neighbours.mjs USERS_PORT MODELS_PORT DATA
// DATA is JSON: {"favourite": an image's pk, "trainedOn": [datasets' ids], "worst": [images' ids]}.
import { readFileSync } from 'node:fs';
import { ApolloServer } from '@apollo/server';
import { ApolloServerPluginInlineTraceDisabled } from '@apollo/server/plugin/disabled';
import { startStandaloneServer } from '@apollo/server/standalone';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';

const [usersPort, modelsPort, data] = process.argv.slice(2);
const { favourite, trainedOn, worst } = JSON.parse(data);

const users = [
  { pk: 7, name: 'Rhea', favourite: { pk: favourite } },
  { pk: 8, name: 'Milo', favourite: null },
];
const versions = [
  { name: 'v1', trainedOn: trainedOn.map((id) => ({ id })), worst: worst.map((id) => ({ id })) },
  { name: 'v2', trainedOn: [{ id: trainedOn[0] }], worst: [] },
];

async function serve(name, port, resolvers) {
  const typeDefs = parse(readFileSync(new URL(`${name}.graphql`, import.meta.url), 'utf8'));
  const server = new ApolloServer({
    schema: buildSubgraphSchema([{ typeDefs, resolvers }]),
    plugins: [ApolloServerPluginInlineTraceDisabled()],
  });
  await startStandaloneServer(server, { listen: { port: Number(port), host: '127.0.0.1' } });
}

const find = (pk) => users.find((user) => user.pk === pk) ?? null;
await serve('users', usersPort, {
  Query: { user: (_, { pk }) => find(pk) },
  User: { __resolveReference: ({ pk }) => find(pk) },
});
await serve('models', modelsPort, {
  Query: {
    modelVersions: () => ({
      edges: versions.map((node) => ({ node, cursor: node.name })),
      pageInfo: { hasNextPage: false, hasPreviousPage: false },
    }),
  },
  ModelVersion: { __resolveReference: ({ name }) => versions.find((version) => version.name === name) },
  Dataset: {
    modelVersions: ({ id }) => versions.filter(({ trainedOn }) => trainedOn.some((dataset) => dataset.id === id)),
  },
});
