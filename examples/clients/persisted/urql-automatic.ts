// urql with automatic persisted queries: by POST, and by GET as far as an address goes.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node urql-automatic.ts
import { Client, fetchExchange, gql } from '@urql/core';
import { persistedExchange } from '@urql/exchange-persisted';
import { token, url } from '../settings.ts';
import { sent, watched } from './watched.ts';

function connect(preferGetForPersistedQueries: false | 'within-url-limit') {
  return new Client({
    url,
    exchanges: [persistedExchange({ preferGetForPersistedQueries }), fetchExchange],
    preferGetMethod: false,
    fetch: watched,
    fetchOptions: { headers: { Authorization: `Bearer ${token}` } },
  });
}

const titles: unknown[] = [];
for (const [name, byGet] of [['Posted', false], ['Got', 'within-url-limit']] as const) {
  const query = gql<{ untrained: { title: string } }>(`query ${name}ByUrql { untrained { id title } }`);
  for (let asked = 0; asked < 2; asked += 1) {
    const { data, error } = await connect(byGet).query(query, {});
    if (error) throw error;
    titles.push(data?.untrained.title);
  }
}
console.log(JSON.stringify({ titles, sent }));
