// Relay and @defer: the server answers it at once where nobody asks for parts, and environment.ts tells Relay so.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node --import ./tools/relay.mjs clients/relay/later.tsx
import { type SingularReaderSelector, fetchQuery, getFragment, getSelector, graphql } from 'relay-runtime';
import type { laterImages$data, laterImages$key } from '../../generated/relay/laterImages.graphql.ts';
import type { laterQuery } from '../../generated/relay/laterQuery.graphql.ts';
import { token } from '../settings.ts';
import { connect } from './environment.ts';

const environment = connect(token);
const QUERY = graphql`
  query laterQuery {
    untrained {
      title
      ...laterImages @defer
    }
  }
`;
const IMAGES = graphql`
  fragment laterImages on Dataset {
    images(first: 1000) {
      nodes {
        originalFileName
      }
    }
  }
`;
const data = await fetchQuery<laterQuery>(environment, QUERY, {}).toPromise();
const dataset: laterImages$key = data!.untrained;
const { data: later } = environment.lookup(getSelector(getFragment(IMAGES), dataset) as SingularReaderSelector);
const { images } = later as unknown as laterImages$data;

console.log(
  JSON.stringify({
    title: data!.untrained.title,
    names: images.nodes.map(({ originalFileName }) => originalFileName),
  }),
);
