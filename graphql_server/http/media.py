"""/<dataset pk>/<file name>: pictures at signed addresses, never taken for anything but pictures."""

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from wsgiref.handlers import format_date_time

from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graphql_server import pictures
from graphql_server.disk import Found, is_place
from graphql_server.errors import NotFound, StorageUnavailable, error_body
from graphql_server.http.heads import Headers, headers_of
from graphql_server.media import Media, Opened, log_unavailable

METHODS = ("GET", "HEAD")
# As plain numbers: Python 3.11 looks up a member of an enumeration by a function.
OK, PARTIAL_CONTENT, NOT_MODIFIED, PRECONDITION_FAILED, NOT_SATISFIABLE = 200, 206, 304, 412, 416
UNMET = {
    PRECONDITION_FAILED: ("PRECONDITION_FAILED", "The picture is not as the request has it."),
    NOT_SATISFIABLE: ("RANGE_NOT_SATISFIABLE", "The picture has no such bytes."),
}
# Smaller pictures are read by the same call that opens them, and sent by one.
SMALL_BYTES = 256 * 1024
# What an address says of itself. All of it is letters that stand for themselves; whatever else comes is not signed.
SIGNED = re.compile(r"(?:^|&)(expires|signature)=([^&]*)")
RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")
# The bytes decide, not the name: the predecessor kept pictures of every kind as .jpg.
KINDS = tuple((kind.magic, kind.content_type.encode()) for kind in pictures.KINDS)
HEADERS = {
    # A picture may be a web page as well; with these no browser takes it for one.
    b"content-security-policy": b"default-src 'none'; sandbox",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"cross-origin",
    b"referrer-policy": b"no-referrer",
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
        dataset_pk, _, file_name = scope["path_params"]["path"].partition("/")
        given = dict(SIGNED.findall(scope["query_string"].decode("latin-1")))
        refusal = self._refusal(scope["method"], dataset_pk, file_name, given)
        if refusal is None:
            try:
                picture = await self._media.open(dataset_pk, file_name, SMALL_BYTES)
            except NotFound as error:
                refusal = _error(HTTPStatus.NOT_FOUND, error.code, str(error))
            except StorageUnavailable as error:
                log_unavailable(error)
                refusal = _error(HTTPStatus.SERVICE_UNAVAILABLE, error.code, str(error))
            else:
                try:
                    headers = self._headers(picture.found, file_name, given)
                    refusal = await _answer(scope, picture, headers, send)
                finally:
                    picture.close()
        if refusal:
            await refusal(scope, receive, send)

    def _refusal(self, method: str, dataset_pk: str, file_name: str, given: Mapping[str, str]) -> Response | None:
        if method not in METHODS:
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
        verdict = self._media.check(dataset_pk, file_name, given.get("expires", ""), given.get("signature", ""))
        if verdict == "bad":
            return _error(HTTPStatus.FORBIDDEN, "FORBIDDEN", "This address is not signed by this server.")
        if verdict == "expired":
            return _error(HTTPStatus.GONE, "URL_EXPIRED", "This address has expired; ask for a new one.")
        return None

    def _headers(self, picture: Found, file_name: str, given: Mapping[str, str]) -> dict[bytes, bytes]:
        # A picture never changes, but without a date of expiry nobody knows when it will be removed.
        cache = b"private, no-cache"
        if self._signed:
            cache = b"private, max-age=%d, immutable" % max(int(given["expires"]) - int(time.time()), 0)
        kind = _kind(picture.head)
        return {
            **HEADERS,
            b"accept-ranges": b"bytes",
            b"cache-control": cache,
            b"content-disposition": f'{"inline" if kind else "attachment"}; filename="{file_name}"'.encode(),
            b"content-type": kind or b"application/octet-stream",
            b"etag": picture.etag,
            b"last-modified": format_date_time(picture.modified).encode(),
        }


def _kind(head: bytes | memoryview) -> bytes | None:
    for magic, kind in KINDS:
        if magic.match(head):
            return kind
    return None


async def _answer(scope: Scope, picture: Opened, headers: dict[bytes, bytes], send: Send) -> Response | None:
    """Send what is asked for of a picture, or give the refusal where that is nothing."""
    found, method = picture.found, scope["method"]
    status, part = _wanted(method, headers_of(scope), found, headers[b"last-modified"])
    if status in UNMET:
        size = {"content-range": f"bytes */{found.byte_size}"} if status == NOT_SATISFIABLE else {}
        return _error(HTTPStatus(status), *UNMET[status], **size)
    if status == NOT_MODIFIED:
        del headers[b"content-type"], headers[b"content-disposition"]
    else:
        headers[b"content-length"] = b"%d" % len(part)
    if status == PARTIAL_CONTENT:
        headers[b"content-range"] = b"bytes %d-%d/%d" % (part.start, part.stop - 1, found.byte_size)
    await send({"type": "http.response.start", "status": status, "headers": [*headers.items()]})
    last = b""
    if method == "GET" and part.stop <= len(found.head):
        last = found.head[part.start : part.stop]
    elif method == "GET":
        async for piece in picture.pieces(part.start, part.stop):
            if last:
                await send({"type": "http.response.body", "body": last, "more_body": True})
            last = piece
    await send({"type": "http.response.body", "body": last})
    return None


def _wanted(method: str, sent: Headers, picture: Found, last_modified: bytes) -> tuple[int, range]:
    """Find the status and the bytes that the request's conditions and range ask for."""
    whole = range(picture.byte_size)
    if status := _failed(sent, picture):
        return status, range(0)
    asked = RANGE.fullmatch(sent.get(b"range", b""))
    if method != "GET" or not asked or sent.get(b"if-range", picture.etag) not in (picture.etag, last_modified):
        return OK, whole
    part = _part(whole, *asked.groups())
    if part is None:
        return OK, whole
    if not part:
        return NOT_SATISFIABLE, part
    return PARTIAL_CONTENT, part


def _failed(sent: Headers, picture: Found) -> int | None:
    """The status that tells which condition does not hold, if any, in the order of RFC 9110, 13.2.2."""
    modified = int(picture.modified)  # as clients are told it
    if b"if-match" in sent:
        if not _is_named(picture.etag, sent[b"if-match"]):
            return PRECONDITION_FAILED
    elif b"if-unmodified-since" in sent and modified > _seconds(sent[b"if-unmodified-since"], modified):
        return PRECONDITION_FAILED
    if b"if-none-match" in sent:
        return NOT_MODIFIED if _is_named(picture.etag, sent[b"if-none-match"], weakly=True) else None
    if b"if-modified-since" in sent and modified <= _seconds(sent[b"if-modified-since"], modified - 1):
        return NOT_MODIFIED
    return None


def _is_named(etag: bytes, tags: bytes, *, weakly: bool = False) -> bool:
    named = [tag.strip() for tag in tags.split(b",")]
    return etag in named or named == [b"*"] or (weakly and b"W/" + etag in named)


def _seconds(date: bytes, otherwise: float) -> float:
    """A date in Unix seconds; what is none counts as if it were not there."""
    try:
        found = parsedate_to_datetime(date.decode("latin-1"))
    except (ValueError, OverflowError):
        return otherwise
    return found.replace(tzinfo=found.tzinfo or UTC).timestamp()


def _part(whole: range, first: bytes, last: bytes) -> range | None:
    """Find the bytes that first-last names, perhaps none; None when it is no range at all."""
    if not first:
        # The last so many bytes.
        return whole[max(len(whole) - int(last), 0) :] if last else None
    if last and int(last) < int(first):
        return None
    return whole[int(first) : int(last) + 1 if last else None]


def _error(status: HTTPStatus, code: str, message: str, **headers: str) -> Response:
    common = {name.decode(): value.decode() for name, value in HEADERS.items()}
    return JSONResponse(error_body(message, code), status.value, common | {"cache-control": "no-store"} | headers)
