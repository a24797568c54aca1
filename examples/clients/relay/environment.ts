// Relay's environment: how an operation, and the files of a mutation, are sent.
import { Environment, type FetchFunction, Network, RecordSource, Store } from 'relay-runtime';
import { url } from '../settings.ts';

export class Refused extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** `sent` gets the name of each operation that is sent. */
export function connect(token: string, sent: string[] = []): Environment {
  const fetchFunction: FetchFunction = async ({ name, id, text }, variables, _cacheConfig, uploadables) => {
    sent.push(name);
    // The compiler gives operations an id, and no text, where they are to be listed: relay.listed.json.
    const operation = JSON.stringify({ ...(id ? { id } : { query: text }), variables });
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${token}`,
        // It tells the server that no page of another site has sent the form.
        ...(uploadables ? { 'GraphQL-Require-Preflight': '1' } : { 'Content-Type': 'application/json' }),
      },
      body: uploadables ? form(operation, uploadables) : operation,
    });
    const answer = await response.json();
    if (!answer.data) throw new Refused(answer.errors[0].message, answer.errors[0].extensions.code);
    // Nothing comes behind it: without this word Relay would wait for what @defer has put off, and is there.
    return { ...answer, extensions: { ...answer.extensions, is_final: true } };
  };
  return new Environment({ network: Network.create(fetchFunction), store: new Store(new RecordSource()) });
}

/** A form: the operation with null where a file belongs, then where that is, then the file. */
function form(operation: string, uploadables: Record<string, File | Blob>): FormData {
  const body = new FormData();
  body.set('operations', operation);
  body.set('map', JSON.stringify(Object.fromEntries(Object.keys(uploadables).map((path) => [path, [path]]))));
  for (const [path, file] of Object.entries(uploadables)) body.set(path, file);
  return body;
}
