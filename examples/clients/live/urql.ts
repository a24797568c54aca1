// urql over graphql-ws.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node urql.ts
import { Client, fetchExchange, gql, subscriptionExchange } from '@urql/core';
import { url } from '../settings.ts';
import { CHANGES, type Changes, after, ended, told } from './changes.ts';
import { isClosing, live } from './socket.ts';

const client = new Client({
  url,
  preferGetMethod: false,
  exchanges: [
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query = '', variables }) => ({
        subscribe: (sink) => ({ unsubscribe: live.subscribe({ query, variables: { ...variables } }, sink) }),
      }),
    }),
  ],
});

client.subscription(gql<Changes>(CHANGES), { after }).subscribe(({ data, error }) => {
  if (data) told(data);
  const closing: unknown = error?.networkError;
  if (error) ended(isClosing(closing) ? `${closing.code} ${closing.reason}` : error.message);
});
