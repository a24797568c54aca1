import type { GraphiQLProps } from "graphiql";

const queries = import.meta.glob<string>("./examples/*.graphql", { query: "?raw", import: "default", eager: true });
const variables = import.meta.glob<string>("./examples/*.json", { query: "?raw", import: "default", eager: true });

/**
 * A tab for each call, in the order of the files' names. The first has no variables, because GraphiQL does not show
 * those of the first tab; what cannot be undone lacks a value, so that a careless click changes nothing.
 */
export const examples: NonNullable<GraphiQLProps["defaultTabs"]> = Object.entries(queries).map(([path, query]) => ({
  query,
  variables: variables[path.replace(/graphql$/, "json")] ?? null,
}));
