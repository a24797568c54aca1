// Apollo Client 4, with apollo-upload-client for the photo.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node apollo-client.ts
import { ApolloClient, CombinedGraphQLErrors, InMemoryCache, gql } from '@apollo/client';
import { relayStylePagination } from '@apollo/client/utilities';
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs';
import { openAsBlob } from 'node:fs';
import { photo, token, url } from './settings.ts';

function connect(token: string) {
  return new ApolloClient({
    cache: new InMemoryCache({
      typePolicies: { Query: { fields: { images: relayStylePagination(['filter', 'orderBy']) } } },
    }),
    // The header tells the server that no page of another site has sent the form.
    link: new UploadHttpLink({
      uri: url,
      headers: { Authorization: `Bearer ${token}`, 'Apollo-Require-Preflight': 'true' },
    }),
  });
}

const client = connect(token);

// Ask
const UNTRAINED = gql`
  query Untrained {
    untrained {
      id
      title
    }
  }
`;
const asked = await client.query<{ untrained: { title: string } }>({ query: UNTRAINED });

// Page to the end of a list; the cache joins the pages.
const IMAGES = gql`
  query Images($after: String) {
    images(first: 3, after: $after) {
      edges {
        node {
          id
          originalFileName
        }
        cursor
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;
interface Images {
  images: {
    edges: { node: { originalFileName: string } }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  };
}
await client.query({ query: IMAGES });
const list = client.watchQuery<Images>({ query: IMAGES });
const joined = () => client.readQuery<Images>({ query: IMAGES })!.images;
let pages = 1;
for (; joined().pageInfo.hasNextPage; pages += 1) {
  await list.fetchMore({ variables: { after: joined().pageInfo.endCursor } });
}

// Save a photo
const SAVE = gql`
  mutation Save($input: SaveFixInput!) {
    saveFix(input: $input) {
      created
      image {
        id
        originalFileName
        byteSize
      }
    }
  }
`;
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
interface Saved {
  saveFix: { image: { originalFileName: string; byteSize: number } };
}
const save = (modelDegree: number) =>
  client.mutate<Saved>({
    mutation: SAVE,
    variables: { input: { file, modelDegree, confidence: 0.97, userFixDegree: 0 } },
  });
const saved = await save(90);
const image = saved.data?.saveFix.image;

// Read errors' codes: 45 is no turn
async function refusal(attempt: Promise<unknown>) {
  try {
    await attempt;
  } catch (error) {
    if (CombinedGraphQLErrors.is(error)) return error.errors[0]?.extensions?.code;
    throw error;
  }
}
const REMOVE = gql`
  mutation Remove {
    removeImage(input: { pk: 999999999 }) {
      image {
        id
      }
    }
  }
`;

console.log(
  JSON.stringify({
    title: asked.data?.untrained.title,
    pages,
    names: joined().edges.map(({ node }) => node.originalFileName),
    saved: { originalFileName: image?.originalFileName, byteSize: image?.byteSize },
    wrong: await refusal(save(45)),
    missing: await refusal(client.mutate({ mutation: REMOVE })),
    stranger: await refusal(connect('a-stranger').query({ query: UNTRAINED })),
  }),
);
client.stop();
