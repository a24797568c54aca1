"""Reads a GraphQL request: a query string, a JSON body, or a multipart form with files.

GraphQL over HTTP: https://graphql.github.io/graphql-over-http/draft/
Multipart: https://github.com/jaydenseric/graphql-multipart-request-spec
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import orjson
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from graphql_server.errors import BadRequest
from graphql_server.schema.execution import Operation

JSON_BYTES = 1024 * 1024
# What is read and prepared for somebody whom the user server has not been asked about yet.
STRANGER_BYTES = 16 * 1024
FORM_JSON_BYTES = 1024 * 1024
MOST_FILES = 100
# How long the next piece of a body is waited for.
BODY_SECONDS = 20
# A page of another site cannot make a browser send one of these without asking us first (CSRF).
PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name")


def from_query_string(request: Request) -> Operation:
    """The operation of a GET request."""
    parameters = request.query_params
    return _operation(
        {
            "query": parameters.get("query"),
            "operationName": parameters.get("operationName"),
            "variables": _json(parameters.get("variables") or "{}", "variables"),
        }
    )


async def from_body(request: Request, max_bytes: int, admit: Callable[[], Awaitable[object]]) -> Operation:
    """The operation of a POST request; BadRequest says what is wrong with the body.

    Files are written to disk as they come, and a large document takes long to prepare, so `admit` is asked before
    a form or more than a little JSON is read, and raises for strangers.
    The files of a form are closed with the request: `await request.close()`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        _check_preflight(request)
        await admit()
        return _operation(await _form(request, max_bytes))
    if kind not in ("application/json", "application/graphql-response+json"):
        raise BadRequest("Send application/json or multipart/form-data.", 415, "UNSUPPORTED_MEDIA_TYPE")
    body, admitted = bytearray(), False
    async for chunk in _counted(request, JSON_BYTES):
        body += chunk
        if len(body) > STRANGER_BYTES and not admitted:
            await admit()
            admitted = True
    return _operation(_json(bytes(body), "body"))


async def _counted(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body as it comes; it is refused as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else 0
    if size <= most:
        size = 0
        async for chunk in _chunks(request):
            size += len(chunk)
            if size > most:
                break
            yield chunk
    if size > most:
        raise BadRequest(f"The request is larger than {most} bytes.", 413, "PAYLOAD_TOO_LARGE")


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(BODY_SECONDS):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield chunk
    except ClientDisconnect:
        raise BadRequest("The request broke off.") from None
    except TimeoutError:
        raise BadRequest(f"Nothing came for {BODY_SECONDS} seconds.", 408, "REQUEST_TIMEOUT") from None


def _check_preflight(request: Request) -> None:
    if not any(name in request.headers for name in PREFLIGHT_HEADERS):
        raise BadRequest(
            "A multipart request needs the header 'GraphQL-Require-Preflight: 1'.", 403, "PREFLIGHT_REQUIRED"
        )


async def _form(request: Request, max_bytes: int) -> dict[str, Any]:
    parser = _FormParser(
        request.headers,
        _counted(request, max_bytes),
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

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: int) -> None:
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
    wrong = BadRequest(f"'map' has the path {path!r}, which leads to no null in the variables.")
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


def _operation(body: object) -> Operation:
    if not isinstance(body, dict):
        raise BadRequest("A GraphQL request is one JSON object; lists of operations are not taken.")
    fields = cast("dict[str, Any]", body)
    query, variables, name = fields.get("query"), fields.get("variables"), fields.get("operationName")
    extensions = fields.get("extensions")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("A GraphQL request needs a 'query', a text.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("'variables' is an object.")
    if name is not None and not isinstance(name, str):
        raise BadRequest("'operationName' is a text.")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("'extensions' is an object.")
    return Operation(query, cast("dict[str, Any]", variables or {}), name or None)


def _json(text: str | bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The {what} cannot be read as JSON: {error.msg}.") from None
