"""Answers in parts over HTTP: https://specs.apollo.dev/incremental/v0.2/"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from graphql_server.http.negotiation import MediaRange
from graphql_server.http.streams import NOT_BUFFERED
from graphql_server.schema.answers import Answer

MEDIA_TYPE = "multipart/mixed;boundary=graphql;incrementalSpec=v0.2"
HEADERS = {**NOT_BUFFERED, "Content-Type": MEDIA_TYPE}


def wanted(ranges: Sequence[MediaRange]) -> bool:
    """Whether a client that takes these reads parts as they are written here; older ways are not."""
    return any(
        quality and name == "multipart/mixed" and "incrementalspec=v0.2" in parameters
        for name, parameters, quality in ranges
    )


async def once(answer: Answer) -> AsyncGenerator[dict[str, Any]]:
    """A whole answer as the only part, for a client that takes nothing else."""
    yield {**answer.body, "hasNext": False}


class Response:
    """Sends parts as they come; when the client has gone they are closed, and what they wait for is not waited for."""

    def __init__(self, bodies: AsyncGenerator[dict[str, Any]], ended: Callable[[], None] = lambda: None) -> None:
        self._bodies = bodies
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._bodies):
                await StreamingResponse(self._frames(), headers=HEADERS)(scope, receive, send)
        finally:
            self._ended()

    async def _frames(self) -> AsyncGenerator[bytes]:
        """A part is read once the boundary after it has come."""
        yield b"--graphql"
        async for body in self._bodies:
            yield b"\r\nContent-Type: application/json\r\n\r\n" + orjson.dumps(body) + b"\r\n--graphql"
        yield b"--\r\n"
