// graphql-ws by itself.
// GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… node graphql-ws.ts
import { CHANGES, type Changes, after, ended, told } from './changes.ts';
import { isClosing, live } from './socket.ts';

live.subscribe<Changes>(
  { query: CHANGES, variables: { after } },
  {
    next: ({ data }) => data && told(data),
    error: (problem) => ended(isClosing(problem) ? `${problem.code} ${problem.reason}` : problem),
    complete: () => ended('complete'),
  },
);
