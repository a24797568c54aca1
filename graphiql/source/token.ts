/**
 * The token from an address like /graphql#token=XYZ, or "". It leaves the address bar and the browser's history
 * at once, because addresses are copied, bookmarked and shown on screens.
 */
export function takeToken(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}
