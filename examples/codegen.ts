// graphql-codegen: types of the operations in operations.graphql, written into generated/.
import type { CodegenConfig } from '@graphql-codegen/cli';

const types = {
  strictScalars: true,
  scalars: { DateTime: 'string', Degree: '0 | 90 | 180 | 270 | 360', Upload: 'File', _Any: 'never' },
  useTypeImports: true,
  enumsAsTypes: true,
};

const config: CodegenConfig = {
  schema: '../schema.graphql',
  documents: 'operations.graphql',
  silent: true,
  importExtension: '.ts',
  generates: {
    'generated/': { preset: 'client', config: types, presetConfig: { persistedDocuments: { hashAlgorithm: 'sha256' } } },
    // All types of the schema, for those who want more than the operations' own.
    'generated/schema.ts': { plugins: ['typescript'], config: types },
  },
};
export default config;
