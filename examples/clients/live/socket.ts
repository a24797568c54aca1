// A WebSocket that graphql-ws, urql and Apollo Client share, and that misses nothing when it breaks.
import { type Client, CloseCode, createClient } from 'graphql-ws';
import { token, url } from '../settings.ts';

const client = createClient({
  url: url.replace(/^http/, 'ws'),
  // A function, so that each new connection takes the token of the day.
  connectionParams: () => ({ Authorization: `Bearer ${token}` }),
  retryAttempts: Infinity,
  // With a token that has died it would be closed again.
  shouldRetry: (problem) => !(isClosing(problem) && problem.code === CloseCode.Forbidden),
});

/** graphql-ws sends a payload again as it is; so the last cursor is put into it, and the server goes on behind that. */
export const live: Client = {
  ...client,
  subscribe(payload, sink) {
    const variables = { ...payload.variables };
    return client.subscribe<any, any>(
      { ...payload, variables },
      {
        next(result) {
          const [event] = Object.values(result.data ?? {});
          if (event) variables['after'] = (event as { cursor: string }).cursor;
          sink.next(result);
        },
        error: (problem) => sink.error(problem),
        complete: () => sink.complete(),
      },
    );
  },
};

export function isClosing(problem: unknown): problem is { code: number; reason: string } {
  return typeof problem === 'object' && problem !== null && 'code' in problem && 'reason' in problem;
}
