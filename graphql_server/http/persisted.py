"""Persisted operations: a client names a document by an identifier, and need not send it.

Automatic ones are sent once by a client, and then named by their hash:
https://www.apollographql.com/docs/apollo-server/performance/apq
Trusted ones are listed by the operator, and no others are run. Identifiers: https://github.com/graphql/graphql-over-http/blob/main/spec/Appendix%20A%20--%20Persisted%20Documents.md
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Protocol, cast

from graphql_server.errors import BadRequest, PersistedQueryNotFound, PersistedQueryNotSupported, PersistedQueryOnly
from graphql_server.schema.context import Context
from graphql_server.schema.documents import Documents
from graphql_server.schema.operations import Document, Operation
from graphql_server.schema.recent import Recent

REMEMBERED_CHARACTERS = 1_000_000
# The draft's name for a document's identifier, and those that Relay's network layers give it.
NAMES = ("documentId", "id", "doc_id")
PREFIX = "sha256:"
# As Apollo's routers in the cloud call the header that they show subgraphs.
GATEWAY = b"router-authorization"


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


class Persisted(Protocol):
    """Where documents are found; all operations must come by it if `always`, else those that name their document."""

    always: bool

    async def resolve(self, operation: Operation, context: Context, headers: Mapping[bytes, bytes], /) -> Operation:
        """The operation with its document.

        Raises NotPersisted, BadRequest for a hash of something else, and what the user server says of strangers, for
        whom nothing is looked up.
        """
        ...


class Automatic:
    """The documents that one process was sent with their hashes; the least used are forgotten first."""

    always = False

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._remembered = Recent[str](REMEMBERED_CHARACTERS)

    async def resolve(self, operation: Operation, context: Context, _headers: Mapping[bytes, bytes], /) -> Operation:
        await context.user()
        if not operation.query:
            return _named(operation, self._remembered.get(operation.document_id))
        if sha256(operation.query.encode()).hexdigest() != operation.document_id:
            raise BadRequest("The sha256Hash is not that of the query.", code="PERSISTED_QUERY_HASH_MISMATCH")
        if isinstance(await self._documents.get(operation.query, context.known), Document):
            self._remembered.put(operation.document_id, operation.query, len(operation.query))
        return operation


class Trusted:
    """The documents that the operator lists; a gateway, which makes up its own, sends a secret to have those run."""

    always = True

    def __init__(self, listed: Mapping[str, str], secrets: Sequence[str], automatic: Automatic) -> None:
        self._texts = {sha256(text.encode()).hexdigest(): text for text in listed.values()}
        self._texts.update(listed)
        self._known = frozenset(listed.values())
        self._secrets = [secret.encode() for secret in secrets]
        self._automatic = automatic

    async def resolve(self, operation: Operation, context: Context, headers: Mapping[bytes, bytes], /) -> Operation:
        await context.user()
        if operation.query in self._known:
            return operation
        listed = None if operation.query else self._texts.get(operation.document_id)
        if listed is None and self._is_gateway(headers):
            return await self._automatic.resolve(operation, context, headers) if operation.document_id else operation
        if not operation.query:
            return _named(operation, listed)
        if operation.document_id:
            raise PersistedQueryNotSupported("PersistedQueryNotSupported")  # as Apollo's clients look for it
        raise PersistedQueryOnly("Only the operations that PERSISTED_OPERATIONS lists are run.")

    def _is_gateway(self, headers: Mapping[bytes, bytes]) -> bool:
        sent = headers.get(GATEWAY, b"")
        return any(compare_digest(sent, secret) for secret in self._secrets)


def _named(operation: Operation, query: str | None) -> Operation:
    """The operation with the document that was found; PersistedQueryNotFound where that is none."""
    if query is None:
        raise PersistedQueryNotFound("PersistedQueryNotFound")  # the message that Apollo's clients look for
    return operation.of(query)
