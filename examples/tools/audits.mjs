// graphql-http's audits of a server: audits.mjs URL, with the TOKEN of a client.
// Writes [{"name": "…", "status": "ok" | "notice" | "warn" | "error", "reason": "…"}] to stdout.
import { auditServer } from 'graphql-http';

const results = await auditServer({
  url: process.argv[2],
  fetchFn: (url, init) =>
    fetch(url, { ...init, headers: { ...init?.headers, authorization: `Bearer ${process.env.TOKEN}` } }),
});
console.log(JSON.stringify(results.map(({ name, status, reason }) => ({ name, status, reason }))));
