"""Answers that come piece by piece over HTTP: the events of a subscription.

Server-sent events: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md (distinct connections)
Multipart: https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from graphql_server.errors import DatasetServerError, ServerStopping, UserServerUnavailable
from graphql_server.http.live import Line, Live
from graphql_server.http.negotiation import MediaRange
from graphql_server.schema.answers import Answer, refused

# Proxies take a connection for dead on which nothing comes for a while, nginx after 60 seconds.
HEARTBEAT_SECONDS = 10.0
# A request with this key in its scope has its answer's head long before its end, and is not slow for that.
LASTING = "graphql_server.lasting"
NOT_BUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class EventStream:
    """text/event-stream; lines end with a line feed alone, because urql takes no others."""

    transport: str = "event-stream"
    media_type: str = "text/event-stream"
    begin: bytes = b":\n\n"
    heartbeat: bytes = b":\n\n"
    end: bytes = b"event: complete\ndata:\n\n"
    cut_off: bytes = b""  # clients connect again where a stream ends without being complete

    def frame(self, answer: Answer) -> bytes:
        return b"event: next\ndata: " + orjson.dumps(answer.body) + b"\n\n"


@dataclass(frozen=True, slots=True)
class MultipartEvents:
    """Apollo's multipart/mixed for subscriptions; a part is read once the boundary after it has come."""

    transport: str = "multipart"
    media_type: str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0"
    begin: bytes = b"--graphql"
    heartbeat: bytes = b"\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql"
    end: bytes = b"--\r\n"
    cut_off: bytes = b"--\r\n"

    def frame(self, answer: Answer) -> bytes:
        body: Any = {"payload": None, **answer.body} if answer.refused else {"payload": answer.body}
        return b"\r\nContent-Type: application/json\r\n\r\n" + orjson.dumps(body) + b"\r\n--graphql"


Format = EventStream | MultipartEvents


def wanted(ranges: Sequence[MediaRange]) -> Format | None:
    """How a client that takes these wants a subscription to be answered, if it takes one at all."""
    for name, parameters, quality in ranges:
        if quality and name == "text/event-stream":
            return EventStream()
        if quality and name == "multipart/mixed" and "subscriptionspec=1.0" in parameters:
            return MultipartEvents()
    return None


class Response(StreamingResponse):
    """Goes on until the answers of a subscription end, the token dies, or the server stops."""

    def __init__(self, shape: Format, answers: AsyncGenerator[Answer] | Answer, live: Live, token: str | None) -> None:
        """One answer is for a client that takes nothing but a stream."""
        headers = {**NOT_BUFFERED, "Content-Type": shape.media_type}
        frames = _only(shape, answers) if isinstance(answers, Answer) else _frames(shape, answers, live, token)
        super().__init__(frames, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[LASTING] = True
        await super().__call__(scope, receive, send)


async def _only(shape: Format, answer: Answer) -> AsyncGenerator[bytes]:
    yield shape.begin + shape.frame(answer) + shape.end


async def _frames(
    shape: Format, answers: AsyncGenerator[Answer], live: Live, token: str | None
) -> AsyncGenerator[bytes]:
    coming = asyncio.Queue[Answer | DatasetServerError | None](1)
    tasks = list[asyncio.Task[None]]()
    yield shape.begin
    try:
        with live.admitted(shape.transport) as line:
            answering, ending = _answer(line.follow(answers), coming), _end(line, token, coming)
            tasks += [asyncio.create_task(answering), asyncio.create_task(ending)]
            async for answer in _until_end(coming):
                yield shape.frame(answer) if answer else shape.heartbeat
        yield shape.end
    except (ServerStopping, UserServerUnavailable) as error:
        yield shape.cut_off and shape.frame(refused(error)) + shape.cut_off
    except DatasetServerError as error:
        yield shape.frame(refused(error)) + shape.end
    finally:
        for task in tasks:
            task.cancel()


async def _answer(answers: AsyncGenerator[Answer], coming: "asyncio.Queue[Answer | DatasetServerError | None]") -> None:
    async with aclosing(answers):
        async for answer in answers:
            await coming.put(answer)
    await coming.put(None)


async def _end(line: Line, token: str | None, coming: "asyncio.Queue[Answer | DatasetServerError | None]") -> None:
    try:
        await line.watch(token)
    except DatasetServerError as error:
        await coming.put(error)


async def _until_end(coming: "asyncio.Queue[Answer | DatasetServerError | None]") -> AsyncGenerator[Answer | None]:
    """The answers, and None whenever none has come for a while; raises what ends them before they are complete."""
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                came = await coming.get()
        except TimeoutError:
            yield None
            continue
        if came is None:
            return
        if isinstance(came, DatasetServerError):
            raise came
        yield came
