// urql; its fetchExchange sends photos by itself.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node urql.ts
import { openAsBlob } from 'node:fs';
import { Client, type CombinedError, cacheExchange, fetchExchange, gql } from '@urql/core';
import { photo, token, url } from './settings.ts';

function connect(token: string) {
  return new Client({
    url,
    exchanges: [cacheExchange, fetchExchange],
    // GET is for queries that a CDN keeps; these are private.
    preferGetMethod: false,
    // The second header tells the server that no page of another site has sent the form.
    fetchOptions: { headers: { Authorization: `Bearer ${token}`, 'GraphQL-Require-Preflight': '1' } },
  });
}

const client = connect(token);
const code = (error: CombinedError | undefined) => error?.graphQLErrors[0]?.extensions['code'];

// Ask
const UNTRAINED = gql<{ untrained: { id: string; title: string } }>`
  query Untrained {
    untrained {
      id
      title
    }
  }
`;
const asked = await client.query(UNTRAINED, {});

// Page to the end of a list
interface Images {
  images: { nodes: { originalFileName: string }[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}
const IMAGES = gql<Images, { after: string | null }>`
  query Images($after: String) {
    images(first: 3, after: $after) {
      nodes {
        id
        originalFileName
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;
const pages: Images['images'][] = [];
for (let after: string | null = null, more = true; more; ) {
  const { data, error }: { data?: Images; error?: CombinedError } = await client.query(IMAGES, { after });
  if (!data) throw error;
  pages.push(data.images);
  ({ endCursor: after, hasNextPage: more } = data.images.pageInfo);
}

// Save a photo
interface Saved {
  saveFix: { image: { originalFileName: string; byteSize: number } } | null;
}
const SAVE = gql<Saved>`
  mutation Save($input: SaveFixInput!) {
    saveFix(input: $input) {
      image {
        id
        originalFileName
        byteSize
      }
    }
  }
`;
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
const save = (modelDegree: number) =>
  client.mutation(SAVE, { input: { file, modelDegree, confidence: 0.97, userFixDegree: 0 } });
const saved = await save(90);
const image = saved.data?.saveFix?.image;

// Read errors' codes: 45 is no turn
const wrong = await save(45);
const REMOVE = gql`
  mutation Remove {
    removeImage(input: { pk: 999999999 }) {
      image {
        id
      }
    }
  }
`;
const missing = await client.mutation(REMOVE, {});
const stranger = await connect('a-stranger').query(UNTRAINED, {});

console.log(
  JSON.stringify({
    title: asked.data?.untrained.title,
    pages: pages.length,
    names: pages.flatMap(({ nodes }) => nodes.map((node) => node.originalFileName)),
    saved: { originalFileName: image?.originalFileName, byteSize: image?.byteSize },
    wrong: code(wrong.error),
    missing: code(missing.error),
    stranger: code(stranger.error),
  }),
);
