/**
 * The token from an address like /graphql#token=XYZ, or "". It leaves the address bar at once, because addresses are
 * copied, bookmarked and shown on screens; this tab's own state keeps it, so that the page can be reloaded.
 */
export function takeToken(): string {
  const sent = new URLSearchParams(location.hash.slice(1)).get("token");
  const kept = (history.state as { token?: string } | null)?.token;
  const token = sent ?? kept ?? "";
  if (sent) history.replaceState({ token }, "", location.pathname + location.search);
  return token;
}
