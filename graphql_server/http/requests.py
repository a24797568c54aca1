"""Reads a GraphQL request: a query string, a JSON body, or a multipart form with files.

GraphQL over HTTP: https://graphql.github.io/graphql-over-http/draft/
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from operator import call
from typing import Any

from starlette.datastructures import QueryParams
from starlette.types import Receive

from graphql_server.budget import Budget
from graphql_server.deadlines import Deadlines
from graphql_server.errors import BadRequest
from graphql_server.http import bodies, forms, persisted
from graphql_server.http.bodies import Body
from graphql_server.http.heads import Headers
from graphql_server.schema.operations import Operation

Admit = Callable[[], Awaitable[object]]
JSON_BYTES = 1024 * 1024
# So much is read and prepared for somebody whom the user server has not been asked about yet: a document of 4 kB may
# take 20 milliseconds, and introspection has 2 kB.
SHORT_BYTES = 4 * 1024
REMEMBERED = 100  # of those, what they ask for
# So much of forms is in memory at once. Each counts for a mebibyte at most, since larger files lie on the disk, and no
# longer than for these seconds while it comes.
FORMS_BYTES, FORM_BYTES, FORM_SECONDS = 8 * 1024 * 1024, 1024 * 1024, 0.1
STRANGER_BYTES = 16 * 1024  # of a message on a WebSocket, which brings the token


def is_form(headers: Headers) -> bool:
    return _kind(headers.get(b"content-type", b"")) == b"multipart/form-data"


@lru_cache(100)
def _kind(content_type: bytes) -> bytes:
    return content_type.partition(b";")[0].strip().lower()


class Plain:
    """Reads requests without files: query strings, and bodies of JSON.

    Front ends send the same few over and over, so those that are short are remembered, each with its operation.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._remembered = lru_cache(REMEMBERED)(call)

    async def of_string(self, string: bytes, admit: Admit) -> Operation:
        """The operation of a GET request's query string; `admit` is asked as for a body."""
        if len(string) <= SHORT_BYTES:
            return self._remembered(_of_string, string)
        await admit()
        return _of_string(string)

    async def of_body(self, headers: Headers, receive: Receive, admit: Admit) -> Operation:
        """The operation of a JSON body; BadRequest says what is wrong with it.

        A large document takes long to prepare, so `admit` is asked before more than a little is read, and raises for
        strangers.
        """
        _check_type(headers)
        _check_encoding(headers)
        bodies.check_length(headers, JSON_BYTES)
        first = receive()
        short = bodies.whole_of(first)
        if short is not None and len(short) <= SHORT_BYTES:
            return self._remembered(_of_body, short)
        body = Body(receive, JSON_BYTES, self._deadlines, first)
        text, admitted = await body.piece(), False
        while True:
            if len(text) > SHORT_BYTES and not admitted:
                await admit()
                admitted = True
            if not body.more:
                return _of_body(text) if isinstance(text, bytearray) or admitted else self._remembered(_of_body, text)
            # It can be added to without being copied each time.
            text = text if isinstance(text, bytearray) else bytearray(text)
            text += await body.piece()


def _check_type(headers: Headers) -> None:
    if _kind(headers.get(b"content-type", b"")) not in (b"application/json", b"application/graphql-response+json"):
        raise BadRequest("Send application/json or multipart/form-data.", 415, "UNSUPPORTED_MEDIA_TYPE")


def _check_encoding(headers: Headers) -> None:
    if b"content-encoding" in headers and headers[b"content-encoding"].strip().lower() != b"identity":
        raise BadRequest("Send the body as it is, not encoded.", 415, "UNSUPPORTED_MEDIA_TYPE")


def _of_body(text: bytes | bytearray) -> Operation:
    return operation_of(bodies.json_of(text, "body"))


def _of_string(string: bytes) -> Operation:
    parameters = QueryParams(string)
    return operation_of(
        {
            **parameters,
            "variables": bodies.json_of(parameters.get("variables") or "{}", "variables"),
            "extensions": bodies.json_of(parameters.get("extensions") or "{}", "extensions"),
        }
    )


class Forms:
    """Reads multipart forms of `max_bytes` at most, and no more at a time than memory is to hold.

    A thousand photos that came together would all lie there, while some are saved. But who sends one slowly is no
    longer counted after a while, so that nobody waits for him.
    """

    def __init__(self, max_bytes: int, deadlines: Deadlines) -> None:
        self._max_bytes = max_bytes
        self._deadlines = deadlines
        self._memory = Budget(FORMS_BYTES)

    @asynccontextmanager
    async def operation(self, headers: Headers, receive: Receive, admit: Admit) -> AsyncGenerator[Operation]:
        """The operation of a form, whose files are closed at the end; BadRequest says what is wrong with it.

        Files are written to disk as they come, so `admit` is asked before, and raises for strangers.
        """
        forms.check_preflight(headers)
        _check_encoding(headers)
        await admit()
        declared = headers.get(b"content-length", b"")
        size = min(int(declared), FORM_BYTES) if declared.isdigit() else FORM_BYTES
        async with self._memory.share(size, FORM_SECONDS) as share:
            bodies.check_length(headers, self._max_bytes)
            form = await forms.read(headers, Body(receive, self._max_bytes, self._deadlines))
            try:
                operation = operation_of(forms.fields_of(form))
                share.settle()
                yield operation
            finally:
                await form.close()


def operation_of(body: object) -> Operation:
    """The operation that a JSON object stands for; BadRequest where it is none."""
    if not isinstance(body, dict):
        raise BadRequest("A GraphQL request is one JSON object; lists of operations are not taken.")
    fields: dict[str, Any] = body  # pyright: ignore[reportUnknownVariableType] - a cast would be a call for each request
    query, variables, name = fields.get("query"), fields.get("variables"), fields.get("operationName")
    extensions = fields.get("extensions")
    document_id = persisted.document_id_of(fields) if extensions or not query else ""
    # Clients over WebSockets must send a query, and so send an empty one.
    if not (document_id and query in (None, "")) and (not isinstance(query, str) or not query.strip()):
        raise BadRequest("A GraphQL request needs a 'query', a text.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("'variables' is an object.")
    if name is not None and not isinstance(name, str):
        raise BadRequest("'operationName' is a text.")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("'extensions' is an object.")
    given: dict[str, Any] = variables or {}  # pyright: ignore[reportUnknownVariableType]
    return Operation(query or "", given, name or None, document_id)
