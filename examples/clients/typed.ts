// urql with the types that graphql-codegen has written: npm run generate.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node typed.ts
import { openAsBlob } from 'node:fs';
import { Client, fetchExchange } from '@urql/core';
import {
  ImagesDocument,
  type ImagesQuery,
  RemoveDocument,
  SaveDocument,
  type SaveFixInput,
  UntrainedDocument,
} from '../generated/graphql.ts';
import { photo, token, url } from './settings.ts';

function connect(token: string) {
  const headers = { Authorization: `Bearer ${token}`, 'GraphQL-Require-Preflight': '1' };
  return new Client({ url, exchanges: [fetchExchange], preferGetMethod: false, fetchOptions: { headers } });
}

const client = connect(token);
const asked = await client.query(UntrainedDocument, {});
const title: string | undefined = asked.data?.untrained.title;

const pages: ImagesQuery['images'][] = [];
for (let after: string | null = null, more = true; more; ) {
  const answer: { data?: ImagesQuery; error?: Error } = await client.query(ImagesDocument, { after });
  if (!answer.data) throw answer.error;
  pages.push(answer.data.images);
  ({ endCursor: after, hasNextPage: more } = answer.data.images.pageInfo);
}

const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
const input: SaveFixInput = { file, modelDegree: 90, confidence: 0.97, userFixDegree: 0 };
const saved = await client.mutation(SaveDocument, { input });
const image = saved.data?.saveFix?.image;

// @ts-expect-error - 45 is no turn, and the compiler says so.
const wrong: SaveFixInput = { ...input, modelDegree: 45 };
const refused = await client.mutation(SaveDocument, { input: wrong });

const missing = await client.mutation(RemoveDocument, { pk: 999999999 });
const stranger = await connect('a-stranger').query(UntrainedDocument, {});

console.log(
  JSON.stringify({
    title,
    pages: pages.length,
    names: pages.flatMap(({ nodes }) => nodes.map((node) => node.originalFileName)),
    saved: { originalFileName: image?.originalFileName, byteSize: image?.byteSize },
    wrong: refused.error?.graphQLErrors[0]?.extensions['code'],
    missing: missing.error?.graphQLErrors[0]?.extensions['code'],
    stranger: stranger.error?.graphQLErrors[0]?.extensions['code'],
  }),
);
