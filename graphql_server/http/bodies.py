"""A request's body as it comes: piece by piece, counted, and in time."""

import time
from collections.abc import Awaitable
from typing import Any

import orjson
from starlette.types import Message, Receive

from graphql_server.deadlines import Deadline, Deadlines
from graphql_server.errors import BadRequest
from graphql_server.http.exchange import Received
from graphql_server.http.heads import Headers

# How long the next piece is waited for, and all of them together if they are few.
BODY_SECONDS = 20
# So many bytes are worth another second. A slow line sends ten times as much; a stranger's 4 kB have 24 seconds.
LEAST_RATE = 1000


class Body:
    """The pieces of a body; BadRequest tells of one that is too large, comes too slowly, or breaks off.

    The `first` may have been asked for before.
    """

    def __init__(
        self, receive: Receive, most: int, deadlines: Deadlines, first: Awaitable[Message] | None = None
    ) -> None:
        self.more = True
        self._receive, self._first = receive, first
        self._deadlines = deadlines
        self._most = most
        self._began, self._patience = time.monotonic(), float(BODY_SECONDS)
        self._size = 0

    async def piece(self) -> bytes:
        """The next piece; there are others as long as `more` is true."""
        coming, self._first = self._first or self._receive(), None
        message = coming.message if isinstance(coming, Received) else await self._awaited(coming)
        if message["type"] == "http.disconnect":
            raise BadRequest("The request broke off.")
        piece, self.more = message.get("body", b""), message.get("more_body", False)
        self._size += len(piece)
        _hold(self._size, self._most)
        if self.more:
            took = time.monotonic() - self._began
            self._patience = min(BODY_SECONDS, BODY_SECONDS + self._size / LEAST_RATE - took)
        return piece

    async def _awaited(self, coming: Awaitable[Message]) -> Message:
        try:
            with Deadline(self._deadlines, self._patience):
                return await coming
        except TimeoutError:
            raise BadRequest("The body came too slowly.", 408, "REQUEST_TIMEOUT") from None


def check_length(headers: Headers, most: int) -> None:
    """Raise BadRequest where a body says that it is too large."""
    declared = headers.get(b"content-length", b"")
    _hold(int(declared) if declared.isdigit() else 0, most)


def _hold(size: int, most: int) -> None:
    if size > most:
        raise BadRequest(f"The request is larger than {most} bytes.", 413, "PAYLOAD_TOO_LARGE")


def whole_of(coming: Awaitable[Message]) -> bytes | None:
    """The body, if it has come and is whole."""
    if not isinstance(coming, Received) or coming.message["type"] == "http.disconnect" or coming.message["more_body"]:
        return None
    return coming.message["body"]


def json_of(text: str | bytes | bytearray, what: str) -> Any:
    """What a text of JSON holds; BadRequest says what is wrong with it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The {what} cannot be read as JSON: {error.msg}.") from None
