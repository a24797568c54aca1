// Composes subgraphs into a supergraph: compose.mjs apollo|hive|cosmo NAME=FILE[=URL]…
// Writes {"errors": […], "hints": […], "supergraph": "…"} to stdout.
import { readFileSync } from 'node:fs';
import { parse, printSchema } from 'graphql';

const composers = {
  async apollo(subgraphs) {
    const { composeServices } = await import('@apollo/composition');
    const { errors = [], hints = [], supergraphSdl } = composeServices(subgraphs);
    return { errors, hints, supergraph: supergraphSdl };
  },

  async hive(subgraphs) {
    const { composeServices } = await import('@theguild/federation-composition');
    const { errors = [], supergraphSdl } = composeServices(subgraphs);
    return { errors, hints: [], supergraph: supergraphSdl };
  },

  async cosmo(subgraphs) {
    const { federateSubgraphs, ROUTER_COMPATIBILITY_VERSION_ONE } = await import('@wundergraph/composition');
    const { errors = [], warnings, federatedGraphSchema } = federateSubgraphs({
      subgraphs: subgraphs.map(({ name, typeDefs, url }) => ({ name, definitions: typeDefs, url })),
      version: ROUTER_COMPATIBILITY_VERSION_ONE,
    });
    return { errors, hints: warnings, supergraph: federatedGraphSchema && printSchema(federatedGraphSchema) };
  },
};

const [composer, ...files] = process.argv.slice(2);
const subgraphs = files.map((argument) => {
  const [name, file, url = `http://${name}.invalid/`] = argument.split('=');
  return { name, url, typeDefs: parse(readFileSync(file, 'utf8')) };
});
const { errors, hints, supergraph } = await composers[composer](subgraphs);
const told = (problems) => problems.map(({ message }) => message);
console.log(JSON.stringify({ errors: told(errors), hints: told(hints), supergraph }));
