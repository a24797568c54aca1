"""Persisted operations: a client names a document by an identifier, and need not send it.

Automatic ones are sent once by a client and then named by their hash:
https://www.apollographql.com/docs/apollo-server/performance/apq
Identifiers: https://github.com/graphql/graphql-over-http/blob/main/spec/Appendix%20A%20--%20Persisted%20Documents.md
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, cast

from graphql_server.errors import BadRequest, PersistedQueryNotFound
from graphql_server.schema.context import Context
from graphql_server.schema.documents import Documents
from graphql_server.schema.execution import Operation
from graphql_server.schema.operations import Document
from graphql_server.schema.recent import Recent

REMEMBERED_CHARACTERS = 1_000_000
# The draft's name for a document's identifier, and those that Relay's network layers give it.
NAMES = ("documentId", "id", "doc_id")
PREFIX = "sha256:"


def document_id_of(fields: Mapping[str, Any]) -> str:
    """The identifier of its document that a request names, without the prefix of a hash; none is an empty text.

    Where the document is sent too, only Apollo's clients mean it to be persisted. Raises BadRequest.
    """
    extensions = fields.get("extensions")
    named = _hash_in(cast("dict[str, Any]", extensions)) if isinstance(extensions, dict) else ""
    if named or fields.get("query"):
        return named
    for name in NAMES:
        value = fields.get(name)
        if value is not None:
            if not isinstance(value, str) or not value:
                raise BadRequest(f"'{name}' is a document's identifier, a text.")
            return value.removeprefix(PREFIX)
    return ""


def _hash_in(extensions: Mapping[str, Any]) -> str:
    match extensions.get("persistedQuery"):
        case None:
            return ""
        case {"version": 1, "sha256Hash": str(found)} if found:
            return found.removeprefix(PREFIX)
        case _:
            raise BadRequest("'persistedQuery' has the version 1 and a sha256Hash, a text.")


class Automatic:
    """The documents that one process was sent with their hashes; the least used are forgotten first."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._remembered = Recent[str](REMEMBERED_CHARACTERS)

    async def resolve(self, operation: Operation, context: Context) -> Operation:
        """The operation, which names a document, with that document.

        Raises PersistedQueryNotFound, BadRequest for a hash of something else, and what the user server says of
        strangers, for whom nothing is looked up or remembered.
        """
        await context.user()
        if not operation.query:
            return operation._replace(query=self._find(operation.document_id))
        if sha256(operation.query.encode()).hexdigest() != operation.document_id:
            raise BadRequest("The sha256Hash is not that of the query.", code="PERSISTED_QUERY_HASH_MISMATCH")
        if isinstance(await self._documents.get(operation.query), Document):
            self._remembered.put(operation.document_id, operation.query, len(operation.query))
        return operation

    def _find(self, key: str) -> str:
        query = self._remembered.get(key)
        if query is None:
            raise PersistedQueryNotFound("PersistedQueryNotFound")  # the message that Apollo's clients look for
        return query
