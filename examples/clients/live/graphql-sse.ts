// graphql-sse: server-sent events.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node graphql-sse.ts
import { createClient } from 'graphql-sse';
import { token, url } from '../settings.ts';
import { CHANGES, type Changes, after, ended, told } from './changes.ts';

const client = createClient({ url, headers: () => ({ Authorization: `Bearer ${token}` }), retryAttempts: Infinity });
const variables = { after };

client.subscribe<Changes>(
  { query: CHANGES, variables },
  {
    next({ data, errors }) {
      if (errors) ended(errors[0]?.extensions?.['code']);
      if (!data) return;
      // After a break the request is sent again, with the last cursor in it.
      variables.after = data.datasetChanged.cursor;
      told(data);
    },
    error: (problem) => ended(String(problem)),
    complete: () => {},
  },
);
