// A fetch that keeps what was sent of each document, and the status that came back: "POST hash 400".
export const sent: string[] = [];

export const watched: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const address = new URL(input instanceof Request ? input.url : input);
  const method = init?.method ?? 'GET';
  const request = method === 'GET' ? Object.fromEntries(address.searchParams) : body(init?.body);
  const named = 'extensions' in request || 'documentId' in request || 'id' in request;
  const parts = [named && 'hash', request['query'] && 'document'].filter(Boolean);
  sent.push(`${method} ${parts.join(' and ')} ${response.status}`);
  return response;
};

function body(sent: unknown): Record<string, unknown> {
  return JSON.parse(String(sent instanceof FormData ? sent.get('operations') : sent));
}
