"""/<dataset pk>/<file name>: pictures at signed addresses, never taken for anything but pictures."""

import re
import time
from contextlib import closing
from email.utils import formatdate
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graphql_server.disk import Found, is_place
from graphql_server.errors import NotFound, StorageUnavailable, error_body
from graphql_server.media import Media, Opened

METHODS = ("GET", "HEAD")
# Smaller pictures are read by the same call that opens them, and sent by one.
SMALL_BYTES = 256 * 1024
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
# The bytes decide, not the name: the predecessor kept pictures of every kind as .jpg.
KINDS = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
)
HEADERS = {
    # A picture may be a web page as well; with these no browser takes it for one.
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "cross-origin",
    "referrer-policy": "no-referrer",
}


def routes(media: Media, *, signed: bool = True) -> list[Route]:
    """Serve the pictures of `media` below the place where these are mounted; to anybody if not signed."""
    return [Route("/{path:path}", Pictures(media, signed=signed))]


class Pictures:
    """An ASGI application, so that the file is closed whatever becomes of the answer."""

    def __init__(self, media: Media, *, signed: bool) -> None:
        self._media = media
        self._signed = signed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        dataset_pk, _, file_name = request.path_params["path"].partition("/")
        refusal = self._refusal(request, dataset_pk, file_name)
        if refusal is None:
            try:
                picture = await self._media.open(dataset_pk, file_name, SMALL_BYTES)
            except NotFound as error:
                refusal = _error(HTTPStatus.NOT_FOUND, error.code, str(error))
            except StorageUnavailable as error:
                refusal = _error(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error))
            else:
                with closing(picture):
                    await _answer(request, picture, self._headers(request, picture.found, file_name), send)
                return
        await refusal(scope, receive, send)

    def _refusal(self, request: Request, dataset_pk: str, file_name: str) -> Response | None:
        if request.method not in METHODS:
            return _error(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "Pictures are for GET and HEAD.",
                allow=", ".join(METHODS),
            )
        if not is_place(dataset_pk, file_name):
            return _error(HTTPStatus.NOT_FOUND, NotFound.code, "There is no such picture.")
        if not self._signed:
            return None
        sent = request.query_params
        verdict = self._media.check(dataset_pk, file_name, sent.get("expires", ""), sent.get("signature", ""))
        if verdict == "bad":
            return _error(HTTPStatus.FORBIDDEN, "FORBIDDEN", "This address is not signed by this server.")
        if verdict == "expired":
            return _error(HTTPStatus.GONE, "URL_EXPIRED", "This address has expired; ask for a new one.")
        return None

    def _headers(self, request: Request, picture: Found, file_name: str) -> dict[str, str]:
        # A picture never changes, but without a date of expiry nobody knows when it will be removed.
        cache = "private, no-cache"
        if self._signed:
            rest = int(request.query_params["expires"]) - int(time.time())
            cache = f"private, max-age={max(rest, 0)}, immutable"
        kind = next((kind for magic, kind in KINDS if magic.match(picture.head)), None)
        return HEADERS | {
            "accept-ranges": "bytes",
            "cache-control": cache,
            "content-disposition": f'{"inline" if kind else "attachment"}; filename="{file_name}"',
            "content-type": kind or "application/octet-stream",
            "etag": picture.etag,
            "last-modified": formatdate(picture.modified, usegmt=True),
        }


async def _answer(request: Request, picture: Opened, headers: dict[str, str], send: Send) -> None:
    status, part = _wanted(request, picture.found, headers["last-modified"])
    if status == HTTPStatus.NOT_MODIFIED:
        del headers["content-type"], headers["content-disposition"]
    else:
        headers["content-length"] = str(len(part))
    if status == HTTPStatus.PARTIAL_CONTENT:
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{picture.found.byte_size}"
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["content-range"] = f"bytes */{picture.found.byte_size}"
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": raw})
    last = b""
    if request.method == "GET":
        async for piece in picture.pieces(part.start, part.stop):
            if last:
                await send({"type": "http.response.body", "body": last, "more_body": True})
            last = piece
    await send({"type": "http.response.body", "body": last})


def _wanted(request: Request, picture: Found, last_modified: str) -> tuple[HTTPStatus, range]:
    """Find the status and the bytes that the request's conditions and range ask for."""
    whole, sent = range(picture.byte_size), request.headers
    known = [tag.strip().removeprefix("W/") for tag in sent.get("if-none-match", "").split(",")]
    if picture.etag in known or known == ["*"]:
        return HTTPStatus.NOT_MODIFIED, range(0)
    asked = RANGE.fullmatch(sent.get("range", ""))
    same = sent.get("if-range", picture.etag) in (picture.etag, last_modified)
    if request.method != "GET" or not asked or not same:
        return HTTPStatus.OK, whole
    part = _part(whole, *asked.groups())
    if part is None:
        return HTTPStatus.OK, whole
    if not part:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, part
    return HTTPStatus.PARTIAL_CONTENT, part


def _part(whole: range, first: str, last: str) -> range | None:
    """Find the bytes that first-last names, perhaps none; None when it is no range at all."""
    if not first:
        # The last so many bytes.
        return whole[max(len(whole) - int(last), 0) :] if last else None
    if last and int(last) < int(first):
        return None
    return whole[int(first) : int(last) + 1 if last else None]


def _error(status: HTTPStatus, code: str, message: str, **headers: str) -> Response:
    return JSONResponse(error_body(message, code), status.value, HEADERS | {"cache-control": "no-store"} | headers)
