"""The GraphQL schema: types, root fields, and how an operation is run."""
