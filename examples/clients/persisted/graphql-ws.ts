// graphql-ws: a subscription that is named by its hash.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node graphql-ws.ts
import { createClient } from 'graphql-ws';
import operations from '../../generated/persisted-documents.json' with { type: 'json' };
import { token, url } from '../settings.ts';

const sha256Hash = Object.entries(operations).find(([, text]) => text.startsWith('subscription Saved'))![0];
const client = createClient({
  url: url.replace('http', 'ws'),
  connectionParams: { Authorization: `Bearer ${token}` },
});
const saved = client.iterate<{ imageSaved: { image: { originalFileName: string } } }>({
  query: '', // graphql-ws asks for a text
  variables: { after: process.argv[2] },
  extensions: { persistedQuery: { version: 1, sha256Hash } },
});
const { value } = await saved.next();
console.log(JSON.stringify({ name: value?.data?.imageSaved.image.originalFileName }));
await client.dispose();
