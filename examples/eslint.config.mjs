// graphql-eslint's rules for schemas, none of them switched off. In the project's root:
// examples/node_modules/.bin/eslint -c examples/eslint.config.mjs schema.graphql
import graphql from '@graphql-eslint/eslint-plugin';

const recommended = graphql.configs['flat/schema-recommended'].rules;
const relay = graphql.configs['flat/schema-relay'].rules;

export default [
  {
    files: ['**/*.graphql'],
    plugins: { '@graphql-eslint': graphql },
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: ['schema.graphql', 'examples/tools/federation.graphql'] } },
    },
    rules: {
      ...recommended,
      ...relay,
      // Federation's own names begin with an underscore: _entities, _service, _Any, _Entity, _Service.
      '@graphql-eslint/naming-convention': [
        'error',
        { ...recommended['@graphql-eslint/naming-convention'][1], allowLeadingUnderscore: true },
      ],
      // Federation describes what it adds in its specification.
      '@graphql-eslint/require-description': [
        'error',
        {
          ...recommended['@graphql-eslint/require-description'][1],
          ignoredSelectors: ['ObjectTypeDefinition[name.value=_Service]', 'ScalarTypeDefinition[name.value=_Any]'],
        },
      ],
      // What is no object of its own has no id; a user's key is the user server's.
      '@graphql-eslint/strict-id-in-types': [
        'error',
        { exceptions: { suffixes: ['Connection', 'Edge', 'Payload'], types: ['PageInfo', 'User', '_Service'] } },
      ],
      // Connections give their items as `nodes` too, saveFixes and nodes answer item by item.
      '@graphql-eslint/relay-edge-types': ['error', { listTypeCanWrapOnlyEdgeType: false }],
    },
  },
];
