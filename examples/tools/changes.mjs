// The breaking changes from one schema to another that the newest part of the changelog does not tell.
// changes.mjs OLD NEW CHANGELOG; exits with 1 where there are any.
import { readFileSync } from 'node:fs';
import { ChangeType, CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildASTSchema, parse } from 'graphql';

const [before, after, changelog] = process.argv.slice(2);

function read(file) {
  // Subgraphs use directives that federation defines and they do not.
  return buildASTSchema(parse(readFileSync(file, 'utf8')), { assumeValidSDL: true });
}

// "- Breaking: `Image.url` is gone, …" tells of the change at Image.url.
const newest = readFileSync(changelog, 'utf8').split(/^## /m)[1];
const entries = newest.matchAll(/^- Breaking: .*(?:\n {2}.*)*/gm);
const told = new Set([...entries].flatMap(([entry]) => [...entry.matchAll(/`([^`]+)`/g)].map(([, path]) => path)));

// Without a key, or where a type is no longer shared, other subgraphs compose no more.
const breaks = ({ criticality, type }) =>
  criticality.level === CriticalityLevel.Breaking || type === ChangeType.DirectiveUsageObjectRemoved;

const changes = await diff(read(before), read(after));
const untold = changes.filter((change) => breaks(change) && !told.has(change.path));
for (const { message, path } of untold) console.log(`${message}; say so in ${changelog}: - Breaking: \`${path}\` …`);
process.exit(untold.length ? 1 : 0);
