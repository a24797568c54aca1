"""Multipart forms: https://github.com/jaydenseric/graphql-multipart-request-spec"""

from typing import Any, cast

from starlette.datastructures import UploadFile

from graphql_server.errors import BadRequest
from graphql_server.http import multipart
from graphql_server.http.bodies import Body, json_of
from graphql_server.http.heads import Headers
from graphql_server.http.multipart import MOST_FILES, Form
from graphql_server.media import log_unavailable

# A page of another site cannot make a browser send one of these without asking us first (CSRF).
PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name")


def check_preflight(headers: Headers) -> None:
    """Raise BadRequest where a page of another site may have made a browser send the form (CSRF)."""
    if not any(name.encode() in headers for name in PREFLIGHT_HEADERS):
        raise BadRequest(
            "A multipart request needs the header 'GraphQL-Require-Preflight: 1'.", 403, "PREFLIGHT_REQUIRED"
        )


async def read(headers: Headers, body: Body) -> Form:
    """The form that a body is; whoever asks closes it, and so its files. BadRequest says what is wrong with it."""
    try:
        return await multipart.read(headers.get(b"content-type", b""), body)
    except OSError as error:
        # Large files lie in the folder for temporary files until they are read.
        log_unavailable(error, "TMPDIR")
        raise BadRequest("The upload cannot be kept at present; try again.", 503, "STORAGE_UNAVAILABLE") from error


def fields_of(form: Form) -> dict[str, Any]:
    """What a form's operation is made of, its files in their places; BadRequest says what is wrong with it."""
    operations = json_of(_text(form, "operations"), "operations")
    if not isinstance(operations, dict):
        raise BadRequest("'operations' is one operation, a JSON object.")
    fields = cast("dict[str, Any]", operations)
    for path, file in _files(form):
        _put(fields, path, file)
    return fields


def _text(form: Form, name: str) -> bytes:
    value = form.parts.get(name)
    if not isinstance(value, bytes):
        raise BadRequest(f"The form needs a field '{name}'.")
    return value


def _files(form: Form) -> list[tuple[str, UploadFile]]:
    """Where each file belongs, by the form's `map`."""
    places = json_of(_text(form, "map"), "map")
    if not isinstance(places, dict):
        raise BadRequest("'map' is a JSON object: the name of each file and the list of its paths.")
    found: list[tuple[str, UploadFile]] = []
    for name, paths in cast("dict[str, object]", places).items():
        file = form.parts.get(name)
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
