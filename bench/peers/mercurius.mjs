// Mercurius on Fastify, with operations compiled from their first use on.
import Fastify from 'fastify';
import mercurius from 'mercurius';
import { context, port, resolvers, typeDefs } from './rows.mjs';

const app = Fastify();
app.register(mercurius, { schema: typeDefs, resolvers, context, jit: 1 });
await app.listen({ port });
