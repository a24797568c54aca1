// What clients get for @defer and @stream that do not ask for an answer in parts, or for one of another kind.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node tools/at-once.mjs
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { Defer20220824Handler } from '@apollo/client/incremental';
import { Client, fetchExchange } from '@urql/core';

const { GRAPHQL_URL: url, TOKEN: token } = process.env;
const headers = { Authorization: `Bearer ${token}` };
const QUERY = gql`
  {
    untrained {
      title
      ... @defer {
        images(first: 1000) {
          nodes @stream(initialCount: 3) {
            originalFileName
          }
        }
      }
    }
  }
`;
const told = ({ untrained }) => [untrained.title, ...untrained.images.nodes.map((image) => image.originalFileName)];

const apollo = new ApolloClient({
  cache: new InMemoryCache(),
  link: new HttpLink({ uri: url, headers }),
  incrementalHandler: new Defer20220824Handler(),
});
const urql = new Client({ url, exchanges: [fetchExchange], fetchOptions: { headers }, preferGetMethod: false });
const [older, plain] = await Promise.all([apollo.query({ query: QUERY }), urql.query(QUERY, {}).toPromise()]);
console.log(JSON.stringify({ apollo: told(older.data), urql: told(plain.data) }));
apollo.stop();
