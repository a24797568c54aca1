"""Automatic persisted queries: a client sends a document once, and from then on its hash.

Protocol: https://www.apollographql.com/docs/apollo-server/performance/apq
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from graphql_server.errors import BadRequest, PersistedQueryNotFound
from graphql_server.schema.context import Context
from graphql_server.schema.documents import Documents
from graphql_server.schema.execution import Operation
from graphql_server.schema.operations import Document
from graphql_server.schema.recent import Recent

REMEMBERED_CHARACTERS = 1_000_000


def sha256_of(extensions: Mapping[str, Any]) -> str:
    """The hash that a request's extensions name; none is an empty text."""
    match extensions.get("persistedQuery"):
        case None:
            return ""
        case {"version": 1, "sha256Hash": str(found)} if found:
            return found
        case _:
            raise BadRequest("'persistedQuery' has the version 1 and a sha256Hash, a text.")


class PersistedQueries:
    """The documents that one process was sent with their hashes; the least used are forgotten first."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._remembered = Recent[str](REMEMBERED_CHARACTERS)

    async def resolve(self, operation: Operation, context: Context) -> Operation:
        """The operation with its document.

        Raises PersistedQueryNotFound, BadRequest for a hash of something else, and what the user server says of
        strangers, for whom nothing is looked up or remembered.
        """
        await context.user()
        if not operation.query:
            return operation._replace(query=self._find(operation.sha256))
        if sha256(operation.query.encode()).hexdigest() != operation.sha256:
            raise BadRequest("The sha256Hash is not that of the query.", code="PERSISTED_QUERY_HASH_MISMATCH")
        if isinstance(await self._documents.get(operation.query), Document):
            self._remembered.put(operation.sha256, operation.query, len(operation.query))
        return operation

    def _find(self, key: str) -> str:
        query = self._remembered.get(key)
        if query is None:
            raise PersistedQueryNotFound("PersistedQueryNotFound")  # the message that Apollo's clients look for
        return query
