"""HTTP as uvicorn speaks it, with limits to who comes slowly, and refusals in JSON like all others."""

import asyncio
from itertools import chain
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graphql_server.http import refusals
from graphql_server.http.handshakes import WebSocket
from graphql_server.http.transports import Flow, Joined, bound, end_in_time

HEAD_BYTES = 32 * 1024
# What is read at once: nearly all requests without files fit into the first.
HEAD_PIECE, BODY_PIECE = 8 * 1024, 256 * 1024
HEADERS = 100
HEAD_SECONDS = 10.0
MESSAGE_BYTES = 1024 * 1024
# So much is still taken, and thrown away, of what comes when all has been said, and for so long.
LEFT_BYTES, LEFT_SECONDS = 8 * 1024 * 1024, 5.0
# How long the next request of a connection is waited for: longer than by proxies and balancers, which keep their own
# for a minute at most, so that none sends one just when its connection is being closed.
IDLE_SECONDS = 75
# How long after its last sign a WebSocket's client is asked for one, and how long that is waited for.
PING_SECONDS = PONG_SECONDS = 20.0


class _Trailers(list[tuple[bytes, bytes]]):
    """Takes the headers behind a body, which nobody reads; a client may send them without an end."""

    def append(self, _header: tuple[bytes, bytes], /) -> None: ...


class Protocol(HttpToolsProtocol):
    """One connection. uvicorn itself would keep headers of any length, and wait for them for ever."""

    parser: Any
    _running: Any = None  # the request that is being answered, or was last
    _refusal = 400, "BAD_REQUEST", "This is no HTTP request."
    _in_head = _began_now = False
    _head = 0  # bytes of a head, or of a body's heads and trailers since the last that was of the body itself
    _deadline: asyncio.TimerHandle | None = None
    _left: int | None = None  # bytes that are still taken; where it is a number, no more requests are read

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        super().connection_made(transport)
        bound(transport)
        self.flow = Flow(transport, self.pipeline)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._running:
            self._lose(self._running)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _lose(self, cycle: Any) -> None:
        """Tell the application that its client has gone; uvicorn tells only the last of several requests in a row."""
        cycle.disconnected = not cycle.response_complete
        cycle.message_event.set()

    def data_received(self, data: bytes | memoryview) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.transport.close()
            return
        self._began_now = False
        self._unset_keepalive_if_required()
        self._read(data)
        if self._left is not None:
            return
        cycle = self._answering
        coming = cycle and cycle.more_body
        if coming and cycle.body:
            self.flow.pause_reading()  # until somebody asks for it; the kernel keeps what comes
            self._head = 0
            return
        # uvicorn's own clock has stopped at these data, although they may be no request, or a part of its head.
        if not self._deadline and (self._in_head or not cycle):
            self._await_head()
        # What a head begins in may hold the body before it as well; chunks may say more of themselves than they hold.
        if coming or (self._in_head and not self._began_now):
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._refuse(431, "HEADERS_TOO_LARGE", f"The headers are larger than {HEAD_BYTES} bytes.")

    def _read(self, data: bytes | memoryview) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as behind:
                data = self._change(data[behind.args[0] :])
            except httptools.HttpParserError:
                self._refuse(*self._refusal)
                data = b""

    def _end(self) -> None:
        """Say that no more comes, and listen for a little while until the client closes.

        Otherwise the kernel tells those who are still sending that it was not read, and they throw the answer away.
        """
        if self.transport.is_closing():
            return
        self._left = LEFT_BYTES
        self.pipeline.clear()
        self.transport.write_eof()
        self._unset_keepalive_if_required()
        # uvicorn waits so long again when an answer is complete.
        self.timeout_keep_alive = LEFT_SECONDS
        self.timeout_keep_alive_task = self.loop.call_later(LEFT_SECONDS, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._began_now, self._head = True, True, 0
        self._stop_waiting()  # its own time begins with what has just come

    def on_headers_complete(self) -> None:
        self._in_head, self._head = False, 0
        self._stop_waiting()
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size > HEAD_BYTES or len(self.headers) > HEADERS:
            message = f"The headers are larger than {HEAD_BYTES} bytes or more than {HEADERS}."
            self._refusal = 431, "HEADERS_TOO_LARGE", message
            # The parser stops at any error in here.
            raise ValueError(message)
        before: Any = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            cycle: Any = self.cycle
            cycle.transport = Joined(self.transport, self.loop, self._end)
            self.headers = _Trailers()
            if self.expect_100_continue:
                # Who is answered without being asked for the body may send it or not, so that nothing can follow.
                cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        """Whether a request is answered later than its head is complete; asked where the parser stops behind that."""
        return self.scope["method"] != "CONNECT"

    def _change(self, behind: bytes | memoryview) -> bytes:
        """Become a WebSocket, or give the head without its wish for another protocol and what is behind it, to be read.

        Only a GET without a body can become one.
        """
        bodies = [value for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        if self.scope["method"] == "GET" and self._get_upgrade() == b"websocket" and set(bodies) <= {b"0"}:
            self.handle_websocket_upgrade()
        elif self._should_upgrade():
            line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
            fields = (b"%b: %b" % field for field in self.headers if field[0] != b"upgrade")
            return b"\r\n".join((line, *fields, b"", behind))
        return b""

    def handle_websocket_upgrade(self) -> None:
        if self._answering:
            self._refuse(400, "BAD_REQUEST", "A WebSocket begins when what was asked for before has been answered.")
        else:
            self._left = 0
            super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        end_in_time(self.transport, self.config, self.loop)
        super().shutdown()
        if "stopping" in self.app_state:
            self.app_state["stopping"].set()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        if self._answering:
            # The head of a pipelined request is not read on before the answer to the one before it.
            self._await_head()
        else:
            self._refuse(408, "REQUEST_TIMEOUT", f"No whole request came within {HEAD_SECONDS:g} seconds.")

    @property
    def _answering(self) -> Any:
        """The last request, where its answer is not complete."""
        cycle: Any = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer and end; where an earlier request waits for its answer, only end, after that."""
        if "traffic" in self.app_state:
            self.app_state["traffic"].refuse(status)
        self._left = LEFT_BYTES
        answering = self._answering
        if answering and (self.pipeline or answering.response_started or not answering.more_body):
            answering.keep_alive = False
            self.flow.pause_reading()
            return
        if answering:
            self._lose(answering)  # what is wrong is its body, for which the application may wait
        self.transport.write(refusals.closing(status, code, message))
        self._end()


class Inlet(asyncio.BufferedProtocol):
    """What a connection's bytes come through: no more than is wanted, and the kernel keeps the rest.

    The event loop itself takes 256 KB at once, and with a request's head its photo, before that can be bidden to wait.
    """

    def __init__(self, **options: Any) -> None:
        self._protocol = protocol = Protocol(**options)
        self.connection_lost = protocol.connection_lost
        self.pause_writing, self.resume_writing = protocol.pause_writing, protocol.resume_writing
        # All connections of a server have one buffer, since nothing comes between its filling and its reading.
        self._buffer = memoryview(protocol.app_state.setdefault("inlet", bytearray(BODY_PIECE)))
        self._short = self._buffer[:HEAD_PIECE]

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the event loop's name for it
        cycle = self._protocol.cycle
        return self._buffer if cycle and cycle.more_body else self._short

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(self._buffer[:nbytes])


# What uvicorn.Config is told, wherever this is served.
OPTIONS: dict[str, Any] = {
    "http": Inlet,
    "ws": WebSocket,
    "ws_max_size": MESSAGE_BYTES,
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PONG_SECONDS,
    # Compression costs each connection some 100 kB.
    "ws_per_message_deflate": False,
    "timeout_keep_alive": IDLE_SECONDS,
    "access_log": False,
    "log_config": None,
    "lifespan": "on",
}
