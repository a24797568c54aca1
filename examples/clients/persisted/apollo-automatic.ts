// Apollo Client 4 with automatic persisted queries: the hash first, the document only where the server asks for it.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node apollo-automatic.ts
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { token, url } from '../settings.ts';
import { sent, watched } from './watched.ts';

function connect(useGETForHashedQueries: boolean) {
  return new ApolloClient({
    cache: new InMemoryCache(),
    link: ApolloLink.from([
      new PersistedQueryLink({
        sha256: (query) => createHash('sha256').update(query).digest('hex'),
        useGETForHashedQueries,
      }),
      new HttpLink({ uri: url, headers: { Authorization: `Bearer ${token}` }, fetch: watched }),
    ]),
  });
}

const titles: unknown[] = [];
for (const [name, byGet] of [['Posted', false], ['Got', true]] as const) {
  const query = gql(`query ${name}ByApollo { untrained { id title } }`);
  for (let asked = 0; asked < 2; asked += 1) {
    const client = connect(byGet);
    const { data } = await client.query<{ untrained: { title: string } }>({ query });
    titles.push(data?.untrained.title);
    client.stop();
  }
}
console.log(JSON.stringify({ titles, sent }));
