"""HTTP as uvicorn speaks it, with limits to who comes slowly, and refusals in JSON like all others."""

import asyncio
from itertools import chain

import httptools

from graphql_server.http.connections import LEFT_BYTES, Connection
from graphql_server.http.exchange import Exchange
from graphql_server.http.heads import Fields, Head, Line, aim, head_of

HEAD_BYTES = 32 * 1024
HEADERS = 100
HEAD_SECONDS = 10.0
# The fields by which a request is read; all others are the application's.
OURS = frozenset((b"expect", b"host", b"transfer-encoding"))


class _Trailers(list[Line]):
    """Takes the headers behind a body, which nobody reads; a client may send them without an end."""

    def append(self, _header: Line, /) -> None: ...


class Protocol(Connection):
    """What comes over one connection. uvicorn itself would keep headers of any length, and wait for them for ever."""

    _refusal = 400, "BAD_REQUEST", "This is no HTTP request."
    _in_head = _in_body = _began_now = False
    _hosts = 0  # of a head, which names one
    _coded = False  # whether a body is to come in another coding than chunks
    _head = 0  # bytes of a head, or of a body's heads and trailers since the last that was of the body itself
    _deadline: asyncio.TimerHandle | None = None
    _last: Head | None = None  # that came with a whole request, if the next may be as that

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes | memoryview) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.transport.close()
            return
        if self._answering or self._in_head or self._in_body:
            self._take(data)
            return
        piece = bytes(data)
        if not (self._last and self._take_again(self._last, piece)):
            self._take(piece)
            self._remember(piece)

    def _take(self, data: bytes | memoryview) -> None:
        self._began_now = False
        self._read(data)
        if self._left is not None:
            return
        cycle = self._answering
        coming = cycle and cycle.more_body
        if coming and cycle.body:
            self.flow.pause_reading()  # until somebody asks for it; the kernel keeps what comes
            self._head = 0
            return
        # They may be no request, or a part of its head.
        if not self._deadline and (self._in_head or not (cycle or self._in_body)):
            self._await_head()
        # What a head begins in may hold the body before it as well; chunks may say more of themselves than they hold.
        if coming or (self._in_head and not self._began_now):
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._refuse(431, "HEADERS_TOO_LARGE", f"The headers are larger than {HEAD_BYTES} bytes.")

    def _take_again(self, last: Head, piece: bytes) -> bool:
        """Begin a request without the parser, which takes most of the time, where its head is the last one."""
        scope = last.again(piece)
        if scope is None:
            return False
        self._stop_waiting()
        scope["state"] = self.app_state.copy()
        exchange = Exchange(scope, self, keep_alive=True, awaited=False)
        exchange.take_whole(piece[len(piece) - last.length :])
        self.begin(exchange)
        return True

    def _remember(self, piece: bytes) -> None:
        """Remember the head of what was one whole request, and no more."""
        last = self._answering
        whole = last and last is self._running and last.keep_alive and not (last.more_body or self._in_head)
        self._last = head_of(piece, last.scope) if whole else None

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

    def end(self) -> None:
        self._stop_waiting()
        super().end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["headers"] = self.headers = Fields()
        self._in_head, self._began_now, self._head = True, True, 0
        self._hosts, self._coded = 0, False
        self._stop_waiting()  # its own time begins with what has just come

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in OURS:
            self._note(name, value.strip(b" \t").lower())
        self.headers.append((name, value))

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue |= value == b"100-continue"
        else:
            self._coded |= value != b"chunked"

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body, self._head = False, True, 0
        self._stop_waiting()
        if fault := self._fault():
            self._refusal = fault
            # The parser stops at any error in here.
            raise ValueError(fault)
        self._request()

    def _fault(self) -> tuple[int, str, str] | None:
        """What a head is refused for: status, code and message."""
        size = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        if size > HEAD_BYTES or len(self.headers) > HEADERS:
            return 431, "HEADERS_TOO_LARGE", f"The headers are larger than {HEAD_BYTES} bytes or more than {HEADERS}."
        # Of two, a proxy may have gone by the other one.
        if self._hosts != 1 and (self._hosts or self.parser.get_http_version() != "1.0"):
            return 400, "BAD_REQUEST", "A request has one header 'Host'."
        if self._coded:
            return 501, "BAD_REQUEST", "Of the codings of 'Transfer-Encoding' only chunked is known."
        return None

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def _request(self) -> None:
        scope, version = self.scope, self.parser.get_http_version()
        scope["method"], scope["http_version"] = self.parser.get_method().decode("ascii"), version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        aim(scope, self.url)
        self.headers = _Trailers()
        new = version != "1.0"
        # Who is answered without being asked for the body may send it or not, so that nothing can follow.
        awaited = self.expect_100_continue and new
        keep_alive = new and self.parser.should_keep_alive() and not awaited
        self.begin(Exchange(scope, self, keep_alive=keep_alive, awaited=awaited))

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
            # This parser reads no more of who wishes to close; what comes behind that is nothing to either.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            return b"\r\n".join((line, *fields, b"", behind))
        return b""

    def handle_websocket_upgrade(self) -> None:
        if self._answering:
            self._refuse(400, "BAD_REQUEST", "A WebSocket begins when what was asked for before has been answered.")
        else:
            self._left = 0
            self._unset_keepalive_if_required()
            super().handle_websocket_upgrade()

    @property
    def _rests(self) -> bool:
        return super()._rests and not self._deadline

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

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer and end; where an earlier request waits for its answer, only end, after that."""
        if "traffic" in self.app_state:
            self.app_state["traffic"].refuse(status)
        self._left = LEFT_BYTES
        if self.pipeline and self.cycle.more_body:
            # What is wrong is its body, so that it never can have its turn.
            self.pipeline.popleft()
            self.cycle = self.pipeline[0] if self.pipeline else self._running
        answering = self._answering
        if answering and (self.pipeline or answering.response_started or not answering.more_body):
            answering.keep_alive = False
            self.flow.pause_reading()
            return
        if answering:
            answering.lose()  # what is wrong is its body, for which the application may wait
        self.end_with(status, code, message)
