// Apollo Client 4 with the identifiers of the manifest that Apollo's generator writes of this file: npm run generate.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg node apollo-listed.ts
import { openAsBlob } from 'node:fs';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { generatePersistedQueryIdsFromManifest } from '@apollo/persisted-query-lists';
import UploadHttpLink from 'apollo-upload-client/UploadHttpLink.mjs';
import { parse } from 'graphql';
import manifest from '../../generated/apollo.json' with { type: 'json' };
import { photo, token, url } from '../settings.ts';
import { sent, watched } from './watched.ts';

const headers = { Authorization: `Bearer ${token}`, 'Apollo-Require-Preflight': 'true' };
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([
    new PersistedQueryLink(generatePersistedQueryIdsFromManifest({ loadManifest: async () => manifest })),
    new UploadHttpLink({ uri: url, headers, fetch: watched }),
  ]),
});

const UNTRAINED = gql`
  query UntrainedByApollo {
    untrained {
      ...Title
    }
  }
  fragment Title on Dataset {
    id
    title
  }
`;
const { data } = await client.query<{ untrained: { title: string } }>({ query: UNTRAINED });

const SAVE = gql`
  mutation SaveByApollo($input: SaveFixInput!) {
    saveFix(input: $input) {
      image {
        id
        originalFileName
      }
    }
  }
`;
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });
const saved = await client.mutate<{ saveFix: { image: { originalFileName: string } } }>({
  mutation: SAVE,
  variables: { input: { file, modelDegree: 90, confidence: 0.97, userFixDegree: 0 } },
});

// What nobody has listed is refused, also where it is sent in full.
async function refusal(link: ApolloLink) {
  const stray = new ApolloClient({ cache: new InMemoryCache(), link });
  try {
    // Not by gql, which the generator looks for.
    await stray.query({ query: parse('query Stray { untrained { pk } }') });
  } catch (error) {
    if (CombinedGraphQLErrors.is(error)) return error.errors[0]?.extensions?.code;
    throw error;
  } finally {
    stray.stop();
  }
}
const http = () => new HttpLink({ uri: url, headers, fetch: watched });
console.log(
  JSON.stringify({
    title: data?.untrained.title,
    saved: saved.data?.saveFix.image.originalFileName,
    inFull: await refusal(http()),
    withHash: await refusal(ApolloLink.from([new PersistedQueryLink({ sha256: () => 'a'.repeat(64) }), http()])),
    sent,
  }),
);
client.stop();
