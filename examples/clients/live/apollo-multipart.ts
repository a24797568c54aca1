// Apollo Client 4 by its own multipart protocol: no WebSocket, and no package but its own.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node apollo-multipart.ts
import {
  ApolloClient,
  ApolloLink,
  CombinedGraphQLErrors,
  CombinedProtocolErrors,
  HttpLink,
  InMemoryCache,
  gql,
} from '@apollo/client';
import { RetryLink } from '@apollo/client/link/retry';
import { tap } from 'rxjs';
import { token, url } from '../settings.ts';
import { CHANGES, type Changes, after, ended, told } from './changes.ts';

const code = (error: unknown) =>
  CombinedGraphQLErrors.is(error) || CombinedProtocolErrors.is(error) ? error.errors[0]?.extensions?.['code'] : undefined;

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([
    // Apollo Client does not connect again by itself; with a token that has died it would be refused again.
    new RetryLink({
      attempts: (_count, _operation, error) => code(error) !== 'UNAUTHENTICATED',
      delay: { initial: 300, max: 10_000 },
    }),
    // The next attempt begins behind the last event.
    new ApolloLink((operation, forward) =>
      forward(operation).pipe(
        tap(({ data }) => {
          if (data) operation.variables['after'] = (data as Changes).datasetChanged.cursor;
        }),
      ),
    ),
    new HttpLink({ uri: url, headers: { Authorization: `Bearer ${token}` } }),
  ]),
});

client.subscribe<Changes>({ query: gql(CHANGES), variables: { after } }).subscribe(({ data, error }) => {
  if (data) told(data);
  if (error) ended(code(error) ?? error.message);
});
