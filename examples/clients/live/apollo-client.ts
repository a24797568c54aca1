// Apollo Client 4 over graphql-ws.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node apollo-client.ts
import { ApolloClient, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { CHANGES, type Changes, after, ended, told } from './changes.ts';
import { live } from './socket.ts';

const client = new ApolloClient({ cache: new InMemoryCache(), link: new GraphQLWsLink(live) });

client.subscribe<Changes>({ query: gql(CHANGES), variables: { after } }).subscribe(({ data, error }) => {
  if (data) told(data);
  if (error) ended(error.message);
});
