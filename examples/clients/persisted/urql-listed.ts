// urql with the hashes that graphql-codegen puts into operations.graphql's documents: npm run generate.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node urql-listed.ts
import { openAsBlob } from 'node:fs';
import { Client, type CombinedError, fetchExchange, gql } from '@urql/core';
import { persistedExchange } from '@urql/exchange-persisted';
import { ImagesDocument, RemoveDocument, SaveDocument, UntrainedDocument } from '../../generated/graphql.ts';
import { photo, token, url } from '../settings.ts';
import { sent, watched } from './watched.ts';

const listed = persistedExchange({
  enforcePersistedQueries: true,
  enableForMutation: true,
  generateHash: async (_, document) => (document as { __meta__?: { hash: string } }).__meta__?.hash ?? '',
});

function connect(exchanges = [listed, fetchExchange]) {
  // The second header tells the server that no page of another site has sent the form.
  const headers = { Authorization: `Bearer ${token}`, 'GraphQL-Require-Preflight': '1' };
  return new Client({ url, exchanges, preferGetMethod: false, fetch: watched, fetchOptions: { headers } });
}

const client = connect();
const code = (error: CombinedError | undefined) => error?.graphQLErrors[0]?.extensions['code'];
const asked = await client.query(UntrainedDocument, {});
const images = await client.query(ImagesDocument, { after: null });
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
const saved = await client.mutation(SaveDocument, {
  input: { file, modelDegree: 90, confidence: 0.97, userFixDegree: 0 },
});
const missing = await client.mutation(RemoveDocument, { pk: 999999999 });
// What nobody has listed is refused.
const stray = await connect([fetchExchange]).query(gql('query Stray { untrained { pk } }'), {});

console.log(
  JSON.stringify({
    title: asked.data?.untrained.title,
    names: images.data?.images.nodes.map((node) => node.originalFileName),
    saved: saved.data?.saveFix?.image.originalFileName,
    missing: code(missing.error),
    stray: code(stray.error),
    sent,
  }),
);
