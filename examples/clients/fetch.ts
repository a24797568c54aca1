// No library at all: the platform's own fetch.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node fetch.ts
import { openAsBlob } from 'node:fs';
import { photo, token, url } from './settings.ts';

interface Answer<Data> {
  data?: Data | null;
  errors?: { message: string; extensions: { code: string } }[];
}

async function ask<Data>(query: string, variables: object = {}, authorization = token): Promise<Answer<Data>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${authorization}`,
      Accept: 'application/graphql-response+json',
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({ query, variables }),
  });
  return response.json() as Promise<Answer<Data>>;
}

// A form: the operation with null where the file belongs, then where that is, then the file.
async function upload<Data>(query: string, input: object, file: File): Promise<Answer<Data>> {
  const form = new FormData();
  form.set('operations', JSON.stringify({ query, variables: { input: { ...input, file: null } } }));
  form.set('map', JSON.stringify({ photo: ['variables.input.file'] }));
  form.set('photo', file);
  const response = await fetch(url, {
    method: 'POST',
    // The second header tells the server that no page of another site has sent the form.
    headers: { Authorization: `Bearer ${token}`, 'GraphQL-Require-Preflight': '1' },
    body: form,
  });
  return response.json() as Promise<Answer<Data>>;
}

// Ask
const UNTRAINED = 'query Untrained { untrained { title } }';
const asked = await ask<{ untrained: { title: string } }>(UNTRAINED);

// Page to the end of a list
const IMAGES = `query Images($after: String) {
  images(first: 3, after: $after) {
    nodes { originalFileName }
    pageInfo { hasNextPage endCursor }
  }
}`;
interface Images {
  images: { nodes: { originalFileName: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}
const pages: Images['images'][] = [];
for (let after: string | null = null, more = true; more; ) {
  const { data, errors }: Answer<Images> = await ask<Images>(IMAGES, { after });
  if (!data) throw new Error(errors?.[0]?.message);
  pages.push(data.images);
  ({ endCursor: after, hasNextPage: more } = data.images.pageInfo);
}

// Save a photo
const SAVE = `mutation Save($input: SaveFixInput!) {
  saveFix(input: $input) { image { originalFileName byteSize } }
}`;
interface Saved {
  saveFix: { image: { originalFileName: string; byteSize: number } } | null;
}
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
const save = (modelDegree: number) =>
  upload<Saved>(SAVE, { modelDegree, confidence: 0.97, userFixDegree: 0 }, file);
const saved = await save(90);

// Read errors' codes: 45 is no turn
const wrong = await save(45);
const missing = await ask('mutation Remove { removeImage(input: { pk: 999999999 }) { image { pk } } }');
const stranger = await ask(UNTRAINED, {}, 'a-stranger');

console.log(
  JSON.stringify({
    title: asked.data?.untrained.title,
    pages: pages.length,
    names: pages.flatMap(({ nodes }) => nodes.map((node) => node.originalFileName)),
    saved: saved.data?.saveFix?.image,
    wrong: wrong.errors?.[0]?.extensions.code,
    missing: missing.errors?.[0]?.extensions.code,
    stranger: stranger.errors?.[0]?.extensions.code,
  }),
);
