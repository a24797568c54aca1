"""Reads a GraphQL request: a query string, a JSON body, or a multipart form with files.

GraphQL over HTTP: https://graphql.github.io/graphql-over-http/draft/
Multipart: https://github.com/jaydenseric/graphql-multipart-request-spec
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, cast

import orjson
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.datastructures import Headers as FormHeaders
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Receive, Scope

from graphql_server.errors import BadRequest
from graphql_server.http import persisted
from graphql_server.schema.execution import Operation

Headers = Mapping[bytes, bytes]
Admit = Callable[[], Awaitable[object]]
JSON_BYTES = 1024 * 1024
# What is read and prepared for somebody whom the user server has not been asked about yet.
STRANGER_BYTES = 16 * 1024
FORM_JSON_BYTES = 1024 * 1024
MOST_FILES = 100
# How long the next piece of a body is waited for.
BODY_SECONDS = 20
# A page of another site cannot make a browser send one of these without asking us first (CSRF).
PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name")


def headers_of(scope: Scope) -> Headers:
    """A request's headers by their names in small letters; of two with one name, the first."""
    return dict(reversed(scope["headers"]))


def from_query_string(scope: Scope) -> Operation:
    """The operation of a GET request."""
    parameters = QueryParams(scope["query_string"])
    return operation_of(
        {
            **parameters,
            "variables": _json(parameters.get("variables") or "{}", "variables"),
            "extensions": _json(parameters.get("extensions") or "{}", "extensions"),
        }
    )


def is_form(headers: Headers) -> bool:
    return _kind(headers) == b"multipart/form-data"


def _kind(headers: Headers) -> bytes:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


async def from_json(headers: Headers, receive: Receive, admit: Admit) -> Operation:
    """The operation of a JSON body; BadRequest says what is wrong with it.

    A large document takes long to prepare, so `admit` is asked before more than a little is read, and raises for
    strangers.
    """
    if _kind(headers) not in (b"application/json", b"application/graphql-response+json"):
        raise BadRequest("Send application/json or multipart/form-data.", 415, "UNSUPPORTED_MEDIA_TYPE")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise BadRequest("Send the body as it is, not encoded.", 415, "UNSUPPORTED_MEDIA_TYPE")
    _check_length(headers, JSON_BYTES)
    body, more = await _piece(receive)
    admitted = False
    while True:
        if len(body) > STRANGER_BYTES and not admitted:
            await admit()
            admitted = True
        if len(body) > JSON_BYTES:
            raise _too_large(JSON_BYTES)
        if not more:
            return operation_of(_json(body, "body"))
        piece, more = await _piece(receive)
        body += piece


async def from_form(request: Request, max_bytes: int, admit: Admit) -> Operation:
    """The operation of a multipart form; BadRequest says what is wrong with it.

    Files are written to disk as they come, so `admit` is asked before, and raises for strangers. They are closed with
    the request: `await request.close()`.
    """
    _check_preflight(request)
    await admit()
    return operation_of(await _form(request, max_bytes))


async def _counted(scope: Scope, receive: Receive, most: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes; it is refused as soon as it is known to be too large."""
    _check_length(headers_of(scope), most)
    size, more = 0, True
    while more:
        piece, more = await _piece(receive)
        size += len(piece)
        if size > most:
            raise _too_large(most)
        yield piece


def _check_length(headers: Headers, most: int) -> None:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)


def _too_large(most: int) -> BadRequest:
    return BadRequest(f"The request is larger than {most} bytes.", 413, "PAYLOAD_TOO_LARGE")


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """The next piece of a body, and whether there are more."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            message = await receive()
    except TimeoutError:
        raise BadRequest(f"Nothing came for {BODY_SECONDS} seconds.", 408, "REQUEST_TIMEOUT") from None
    if message["type"] == "http.disconnect":
        raise BadRequest("The request broke off.")
    return message.get("body", b""), message.get("more_body", False)


def _check_preflight(request: Request) -> None:
    if not any(name in request.headers for name in PREFLIGHT_HEADERS):
        raise BadRequest(
            "A multipart request needs the header 'GraphQL-Require-Preflight: 1'.", 403, "PREFLIGHT_REQUIRED"
        )


async def _form(request: Request, max_bytes: int) -> dict[str, Any]:
    parser = _FormParser(
        request.headers,
        _counted(request.scope, request.receive, max_bytes),
        max_files=MOST_FILES,
        max_fields=2,
        max_part_size=FORM_JSON_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The form cannot be read: {error.message}") from None
    except KeyError:
        raise BadRequest("The form's content type names no boundary.") from None
    except (LookupError, UnicodeError):
        raise BadRequest("The form's content type names a charset that is none.") from None
    except OSError as error:
        # Large files lie in the folder for temporary files until they are read.
        raise BadRequest("The upload cannot be kept at present; try again.", 503, "STORAGE_UNAVAILABLE") from error
    request._form = form  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - request.close() then closes its files
    operations = _json(_text(form, "operations"), "operations")
    if not isinstance(operations, dict):
        raise BadRequest("'operations' is one operation, a JSON object.")
    fields = cast("dict[str, Any]", operations)
    for path, file in _files(form):
        _put(fields, path, file)
    return fields


class _FormParser(MultiPartParser):
    """Starlette's parser, which itself takes a form that breaks off for a whole one and leaves its last file open."""

    def __init__(self, headers: FormHeaders, stream: AsyncGenerator[bytes, None], **limits: int) -> None:
        super().__init__(headers, self._to_the_end(stream), **limits)
        self._ended = False

    def on_end(self) -> None:
        self._ended = True

    async def _to_the_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self._ended:
            raise BadRequest("The form breaks off.")


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"The form needs a field '{name}'.")
    return value


def _files(form: FormData) -> list[tuple[str, UploadFile]]:
    """Where each file belongs, by the form's `map`."""
    places = _json(_text(form, "map"), "map")
    if not isinstance(places, dict):
        raise BadRequest("'map' is a JSON object: the name of each file and the list of its paths.")
    found: list[tuple[str, UploadFile]] = []
    for name, paths in cast("dict[str, object]", places).items():
        file = form.get(name)
        if not isinstance(file, UploadFile):
            raise BadRequest(f"'map' names a file {name!r} that the form does not have.")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in cast("list[object]", paths)):
            raise BadRequest(f"'map' gives no list of paths for the file {name!r}.")
        found += [(path, file) for path in cast("list[str]", paths)]
    if len(found) > MOST_FILES:
        raise BadRequest(f"'map' has more than {MOST_FILES} paths.")
    return found


def _put(operations: dict[str, Any], path: str, file: UploadFile) -> None:
    """Put a file where its path leads, which is a null in the variables."""
    *steps, last = path.split(".")
    wrong = BadRequest(f"'map' has the path {path[:100]!r}, which leads to no null in the variables.")
    if steps[:1] != ["variables"]:
        raise wrong
    place: Any = operations
    try:
        for step in steps:
            place = place[int(step) if isinstance(place, list) else step]
        key: Any = int(last) if isinstance(place, list) else last
        if place[key] is not None or (isinstance(key, int) and key < 0):
            raise wrong
        place[key] = file
    except (KeyError, IndexError, TypeError, ValueError):
        raise wrong from None


def operation_of(body: object) -> Operation:
    """The operation that a JSON object stands for; BadRequest where it is none."""
    if not isinstance(body, dict):
        raise BadRequest("A GraphQL request is one JSON object; lists of operations are not taken.")
    fields = cast("dict[str, Any]", body)
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
    return Operation(query or "", cast("dict[str, Any]", variables or {}), name or None, document_id)


def _json(text: str | bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The {what} cannot be read as JSON: {error.msg}.") from None
