// What both Node peers have in common: the types, the statements and the resolvers. The types are those of our
// schema that the workloads need, and the statements are ours too, so that only the servers differ.
import DataLoader from 'dataloader';
import mysql from 'mysql2/promise';

const pool = mysql.createPool({ uri: process.env.DATABASE_URL, connectionLimit: 16, charset: 'utf8mb4' });
const IMAGE = `pk, original_file_name AS originalFileName, uuid_file_name AS uuidFileName, exif_degree AS exifDegree,
  model_degree AS modelDegree, confidence, user_fix_degree AS userFixDegree`;

export const port = Number(process.env.PORT);

export const typeDefs = `
  type Query { datasets(first: Int!): DatasetConnection! dataset(pk: Int!): Dataset }
  type DatasetConnection { nodes: [Dataset!]! }
  type Dataset { pk: Int! title: String! images(first: Int!, after: String): ImageConnection! }
  type ImageConnection { nodes: [Image!]! }
  type Image {
    pk: Int! originalFileName: String! uuidFileName: String!
    exifDegree: Int modelDegree: Int confidence: Float userFixDegree: Int
  }`;

export const resolvers = {
  Query: {
    datasets: async (_, { first }) => ({ nodes: await rows('SELECT pk, title FROM dataset_info ORDER BY pk LIMIT ?', [first]) }),
    dataset: async (_, { pk }) => (await rows('SELECT pk, title FROM dataset_info WHERE pk = ?', [pk]))[0] ?? null,
  },
  Dataset: {
    images: async ({ pk }, { first, after }, context) => ({ nodes: await context.images.load({ pk, first, after: key(after) }) }),
  },
};

// One for each request: it joins what the datasets of a list ask for.
export const context = () => ({ images: new DataLoader(load) });

// Not execute(): it sends numbers as floating point, for which MariaDB reads a dataset up to the cursor.
async function rows(text, values) {
  return (await pool.query(text, values))[0];
}

// A cursor is ours: the base64 of a JSON list, whose last item is the key.
function key(cursor) {
  return cursor ? JSON.parse(Buffer.from(cursor, 'base64').toString()).at(-1) : 0;
}

async function load(asked) {
  const selects = asked.map(() => `(SELECT dataset_info_pk AS datasetPk, ${IMAGE} FROM image_info
    FORCE INDEX (image_info_dataset_pk) WHERE dataset_info_pk = ? AND pk > ? ORDER BY dataset_info_pk, pk LIMIT ?)`);
  const found = await rows(selects.join(' UNION ALL '), asked.flatMap(({ pk, first, after }) => [pk, after, first]));
  const images = new Map(asked.map(({ pk }) => [pk, []]));
  for (const row of found) images.get(row.datasetPk).push(row);
  return asked.map(({ pk }) => images.get(pk));
}
