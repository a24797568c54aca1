// Apollo Client 4 with @defer and @stream: what is slow, or long, comes behind the rest.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node clients/apollo-parts.ts
import { ApolloClient, HttpLink, InMemoryCache, gql, type TypedDocumentNode } from '@apollo/client';
import { GraphQL17Alpha9Handler } from '@apollo/client/incremental';
import { token, url } from './settings.ts';

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: new HttpLink({ uri: url, headers: { Authorization: `Bearer ${token}` } }),
  // It asks for answers in parts by 'Accept: multipart/mixed;incrementalSpec=v0.2'; the older handler does not.
  incrementalHandler: new GraphQL17Alpha9Handler(),
});

// All that a component is given to show, one after the other, until it is complete.
function shown<Data, Seen>(query: TypedDocumentNode<Data>, look: (data: Partial<Data>) => Seen): Promise<Seen[]> {
  const seen: Seen[] = [];
  return new Promise((resolve, reject) => {
    client.watchQuery({ query }).subscribe(({ data, error, loading }) => {
      if (error) reject(error);
      if (data) seen.push(look(data as Partial<Data>));
      if (!loading) resolve(seen);
    });
  });
}

// The datasets are shown at once, their images when they come.
interface Datasets {
  datasets: { nodes: { title: string; images?: { nodes: { originalFileName: string }[] } }[] };
}
const DATASETS: TypedDocumentNode<Datasets> = gql`
  query Datasets {
    datasets {
      nodes {
        id
        title
        ... @defer {
          images(first: 5) {
            nodes {
              id
              originalFileName
            }
          }
        }
      }
    }
  }
`;
const datasets = await shown(DATASETS, ({ datasets }) =>
  datasets?.nodes.map(({ title, images }) => [title, images?.nodes.length ?? 'later']),
);

// A page is shown from its first images on, while the others are still being read.
interface Images {
  images: { nodes: { originalFileName: string }[] };
}
const IMAGES: TypedDocumentNode<Images> = gql`
  query Images {
    images(first: 1000) {
      nodes @stream(initialCount: 3) {
        id
        originalFileName
      }
    }
  }
`;
const lengths = await shown(IMAGES, ({ images }) => images?.nodes.length);

console.log(
  JSON.stringify({
    datasets,
    lengths,
    names: client.readQuery({ query: IMAGES })?.images.nodes.map(({ originalFileName }) => originalFileName),
  }),
);
client.stop();
