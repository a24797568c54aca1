// Relay with React: pages of a connection, an image fetched again by its id, a photo saved.
// GRAPHQL_URL=… TOKEN=… PHOTO=photo.jpg node --import ./tools/relay.mjs clients/relay/app.tsx
import { openAsBlob } from 'node:fs';
import { Suspense, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import {
  RelayEnvironmentProvider,
  fetchQuery,
  graphql,
  useLazyLoadQuery,
  useMutation,
  usePaginationFragment,
  useRefetchableFragment,
} from 'react-relay';
import type { appImagesPaginationQuery } from '../../generated/relay/appImagesPaginationQuery.graphql.ts';
import type { appImageRefetchQuery } from '../../generated/relay/appImageRefetchQuery.graphql.ts';
import type { appQuery } from '../../generated/relay/appQuery.graphql.ts';
import type { appRemoveMutation } from '../../generated/relay/appRemoveMutation.graphql.ts';
import type { appSaveMutation } from '../../generated/relay/appSaveMutation.graphql.ts';
import type { app_image$key } from '../../generated/relay/app_image.graphql.ts';
import type { app_images$key } from '../../generated/relay/app_images.graphql.ts';
import { photo, token } from '../settings.ts';
import { Refused, connect } from './environment.ts';

const QUERY = graphql`
  query appQuery {
    untrained {
      title
    }
    ...app_images
  }
`;

const sent: string[] = [];
const seen: Record<string, unknown> = {};
// The form holds the file; the server puts it where null stands.
const fix = { file: null as unknown as File, modelDegree: 90, confidence: 0.97, userFixDegree: 0 } as const;
const file = new File([await openAsBlob(photo)], 'lunch.jpg', { type: 'image/jpeg' });

function Page() {
  const data = useLazyLoadQuery<appQuery>(QUERY, {});
  seen['title'] = data.untrained.title;
  return <Images query={data} />;
}

// Pages to the end of the list, as a list does whose end is in sight.
function Images({ query }: { query: app_images$key }) {
  const { data, hasNext, isLoadingNext, loadNext } = usePaginationFragment<appImagesPaginationQuery, app_images$key>(
    graphql`
      fragment app_images on Query
      @argumentDefinitions(count: { type: "Int", defaultValue: 3 }, cursor: { type: "String" })
      @refetchable(queryName: "appImagesPaginationQuery") {
        images(first: $count, after: $cursor) @connection(key: "app_images") {
          __id
          edges {
            node {
              id
              originalFileName
              ...app_image
            }
          }
        }
      }
    `,
    query,
  );
  useEffect(() => {
    if (hasNext && !isLoadingNext) loadNext(3);
  });
  const { edges, __id: list } = data.images;
  if (hasNext) return null;
  seen['names'] ??= edges.map(({ node }) => node.originalFileName);
  seen['pages'] ??= sent.filter((name) => name === 'appQuery' || name === 'appImagesPaginationQuery').length;
  seen['listed'] = edges.length;
  return <Image image={edges[0]!.node} list={list} />;
}

// Is fetched again by its id, by way of Query.node; then a photo is saved, and one that is not there is removed.
function Image({ image, list }: { image: app_image$key; list: string }) {
  const [data, refetch] = useRefetchableFragment<appImageRefetchQuery, app_image$key>(
    graphql`
      fragment app_image on Image @refetchable(queryName: "appImageRefetchQuery") {
        originalFileName
        uprightDegree
      }
    `,
    image,
  );
  const [save] = useMutation<appSaveMutation>(graphql`
    mutation appSaveMutation($input: SaveFixInput!, $connections: [ID!]!) {
      saveFix(input: $input) {
        image @appendNode(connections: $connections, edgeTypeName: "ImageEdge") {
          id
          originalFileName
          byteSize
          ...app_image
        }
      }
    }
  `);
  const [remove] = useMutation<appRemoveMutation>(graphql`
    mutation appRemoveMutation($pk: Int!) {
      removeImage(input: { pk: $pk }) {
        image {
          id @deleteRecord
        }
      }
    }
  `);
  useEffect(() => {
    refetch({}, { fetchPolicy: 'network-only', onComplete: saveFix });
  }, []);
  function saveFix() {
    seen['again'] = data.originalFileName;
    save({
      variables: { input: fix, connections: [list] },
      uploadables: { 'variables.input.file': file },
      onCompleted({ saveFix }) {
        seen['saved'] = { originalFileName: saveFix?.image.originalFileName, byteSize: saveFix?.image.byteSize };
        saveWrongly();
      },
      onError: fail,
    });
  }
  function saveWrongly() {
    save({
      // The compiler would say so: 45 is no turn.
      variables: { input: { ...fix, modelDegree: 45 as 90 }, connections: [list] },
      uploadables: { 'variables.input.file': file },
      onError(error) {
        if (error instanceof Refused) seen['wrong'] = error.code;
        removeImage();
      },
    });
  }
  function removeImage() {
    remove({
      variables: { pk: 999999999 },
      onCompleted(_, errors) {
        seen['missing'] = (errors as { extensions?: { code?: string } }[] | null)?.[0]?.extensions?.code;
        tell();
      },
      onError: fail,
    });
  }
  return <img alt={data.originalFileName} />;
}

function fail(error: Error): never {
  throw error;
}

async function tell() {
  try {
    await fetchQuery<appQuery>(connect('a-stranger'), QUERY, {}).toPromise();
  } catch (error) {
    if (error instanceof Refused) seen['stranger'] = error.code;
  }
  console.log(JSON.stringify({ ...seen, sent }));
  process.exit();
}

createRoot(document.body).render(
  <RelayEnvironmentProvider environment={connect(token, sent)}>
    <Suspense>
      <Page />
    </Suspense>
  </RelayEnvironmentProvider>,
);
