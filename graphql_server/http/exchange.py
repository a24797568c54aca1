"""One request of a connection and the answer to it, as ASGI speaks of them: https://asgi.readthedocs.io/en/latest/specs/www.html"""

import asyncio
import logging
from collections.abc import Awaitable, Generator, Iterable, Iterator
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Fields = Iterable[tuple[bytes, bytes]]

CR, LF = b"\r\n"  # as numbers, which are found in a tenth of the time
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GONE: Message = {"type": "http.disconnect"}

# Where uvicorn tells of such things.
log = logging.getLogger("uvicorn.error")


class Carrier(Protocol):
    """What an exchange needs of the connection that it belongs to."""

    transport: asyncio.Transport

    @property
    def ended(self) -> bool:
        """Whether nothing more can be written."""
        ...

    @property
    def flow(self) -> FlowControl: ...

    @property
    def fields(self) -> Fields:
        """The header fields that all answers have."""
        ...

    def answered(self) -> None:
        """An answer is complete."""
        ...

    def fail(self) -> None:
        """The application has given no answer."""
        ...

    def end(self) -> None:
        """Nothing comes behind what was written."""
        ...

    def finished(self, exchange: "Exchange") -> None:
        """The application has come to its end, some time after its answer."""
        ...


class Received:
    """A message that has come, for whoever awaits it; who sees that need set no clock."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message

    def __await__(self) -> Generator[Any, None, Message]:
        yield from ()
        return self.message


class Exchange:
    """A request that is run, its answer's head and body written together where they come together.

    uvicorn's own looks at each header by two patterns, and writes the head by itself, which is a system call and a
    packet more.
    """

    task: "asyncio.Task[None]"  # that runs it
    disconnected = response_started = response_complete = False
    over = False  # whether there is nobody to hear from, or nothing to be told any more
    body: bytes | bytearray = b""
    more_body = True
    asked = False  # for a piece of the body at least
    _heard = False  # whether there is something to be received
    _event: asyncio.Event | None = None  # while somebody waits for that
    _head = b""  # while it waits for the first piece of the body
    _left: int | None = 0  # bytes of the body that are still to come, if they were declared

    def __init__(self, scope: Scope, connection: Carrier, *, keep_alive: bool, awaited: bool) -> None:
        """`awaited`: the client sends the body when it is told to (`Expect: 100-continue`)."""
        self.scope = scope
        self.keep_alive = keep_alive
        self._connection = connection
        self._awaited = awaited

    def take(self, piece: bytes) -> None:
        """Keep a piece of the request's body."""
        if not self.body:
            self.body = piece
        else:
            # It can be added to without being copied each time.
            self.body = self.body if isinstance(self.body, bytearray) else bytearray(self.body)
            self.body += piece
        self._hear()

    def take_whole(self, body: bytes) -> None:
        """Keep the request's body, which has all come by now; nobody waits for it yet."""
        self.body, self.more_body, self._heard = body, False, True

    def take_end(self) -> None:
        """The request's body is complete."""
        self.more_body = False
        self._hear()

    def lose(self) -> None:
        """Tell the application that its client has gone."""
        self.disconnected = not self.response_complete
        self.over = True
        self._hear()

    def _hear(self) -> None:
        self._heard = True
        if self._event:
            self._event.set()

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:
            log.exception("The application has failed.")
        else:
            if not self.over:
                log.error("The application has given no whole answer.")
        if not self.over:
            self._break_off()
        self._connection.finished(self)

    def _break_off(self) -> None:
        if self.response_started and not self._head:
            self._connection.end()
        else:
            self._connection.fail()

    def receive(self) -> Awaitable[Message]:
        if not self.over:
            self._connection.flow.resume_reading()
        return Received(self._message()) if self._heard and not self._awaited else self._next()

    async def _next(self) -> Message:
        if self._awaited and not self._connection.ended:
            self._connection.transport.write(CONTINUE)
            self._awaited = False
        if not self._heard and not self.over:
            self._event = self._event or asyncio.Event()
            await self._event.wait()
            self._event.clear()
        return self._message()

    def _message(self) -> Message:
        if self.over:
            return GONE
        self._heard, self.asked = False, True
        body, self.body = self.body, b""
        return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if self.disconnected:
            return
        if self.response_complete or self.response_started == (message["type"] == "http.response.start"):
            raise RuntimeError(f"{message['type']} at the wrong time")
        if self.response_started:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._begin(message["status"], message.get("headers", ()))

    def _begin(self, status: int, fields: Fields) -> None:
        lines, length, closes = [STATUS_LINE[status]], None, False
        for name, value in (*self._connection.fields, *fields):
            if CR in value or LF in value:
                raise RuntimeError(f"{name.decode()} has more than one line.")
            lines += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                closes = b"close" in value.lower()
        self.keep_alive &= not closes
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        if self.scope["method"] == "HEAD" or status in (204, 304):
            length = 0
        if length is None and self._framed:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._head, self._left = b"".join(lines), length
        self.response_started, self._awaited = True, False
        if length is None:
            self._write(b"")  # The first piece may be long in coming.

    def _go_on(self, piece: bytes, *, more: bool) -> None:
        if self._left is None:
            self._write(*(_chunks(piece, more=more) if self._framed else (piece,)))
        elif self.scope["method"] == "HEAD":
            self._write(b"")
        else:
            self._left -= len(piece)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("The answer's body is not as long as its content-length.")
            self._write(piece)
        if not more:
            self._complete()

    @property
    def _framed(self) -> bool:
        """Whether the client reads chunks; to one of HTTP/1.0 the connection's end is the answer's."""
        return self.scope["http_version"] != "1.0"

    def _write(self, *pieces: bytes) -> None:
        whole = [*filter(None, (self._head, *pieces))]
        self._head = b""
        if whole and not self._connection.ended:
            self._connection.transport.writelines(whole)

    def _complete(self) -> None:
        self.response_complete = self.over = True
        self._hear()  # for who waits until the client has gone
        if not self.keep_alive:
            self._connection.end()
        self._connection.answered()


def _chunks(piece: bytes, *, more: bool) -> Iterator[bytes]:
    if piece:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    if not more:
        yield b"0\r\n\r\n"
