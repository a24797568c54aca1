"""One connection of HTTP/1.1 as uvicorn has it, whose requests are answered one after the other."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from graphql_server.errors import DatasetServerError
from graphql_server.http import refusals
from graphql_server.http.exchange import Exchange, Fields
from graphql_server.http.transports import Flow, bound, end_in_time

# So much is still taken, and thrown away, of what comes when all has been said, and for so long.
LEFT_BYTES, LEFT_SECONDS = 8 * 1024 * 1024, 5.0


class Connection(HttpToolsProtocol):
    """What begins with each request, and what is done when it has been answered.

    uvicorn sets a timer with each answer, and takes it back with each request; here one looks now and then.
    """

    app: Any
    parser: Any
    scope: Any
    cycle: Any  # the last Exchange that was begun
    pipeline: Any  # of those that wait for it
    _running: Exchange | None = None  # the request that is being answered, or was last
    _resting = 0.0  # since when no answer is under way, on the event loop's clock
    _ended = False  # whether all has been said
    _left: int | None = None  # bytes that are still taken; where it is a number, no more requests are read

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        super().connection_made(transport)
        bound(transport)
        self.flow = Flow(transport, self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        for exchange in filter(None, (self._running, self.cycle)):
            exchange.lose()
        self._unset_keepalive_if_required()
        self.cycle = None  # uvicorn would tell only the last of several in a row
        super().connection_lost(exc)

    def begin(self, exchange: Exchange) -> None:
        """Answer a request once those before it are answered."""
        waits, self.cycle = self._answering, exchange
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft(exchange)
        else:
            self._start(exchange)

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        exchange.task = self.loop.create_task(exchange.run(self.app))
        self.tasks.add(exchange.task)  # until it says that it has finished; to be called back takes a turn of the loop

    def finished(self, exchange: Exchange) -> None:
        self.tasks.discard(exchange.task)

    def on_body(self, body: bytes) -> None:
        if not self._over:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        if not self._over:
            self.cycle.take_end()

    @property
    def _over(self) -> bool:
        """Whether the request that comes is none for an exchange, or its answer is complete."""
        return (self.parser.should_upgrade() and self._should_upgrade()) or self.cycle.response_complete

    @property
    def ended(self) -> bool:
        return self._ended or self.transport.is_closing()

    @property
    def fields(self) -> Fields:
        return self.server_state.default_headers

    def answered(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop())
            return
        self._resting = self.loop.time()
        if not self.timeout_keep_alive_task:
            self._close_later(self.timeout_keep_alive)

    def _close_later(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        rest = self._resting + self.timeout_keep_alive - self.loop.time()
        if self._ended or (rest <= 0 and self._rests):
            super().timeout_keep_alive_handler()
        elif rest > 0:
            self._close_later(rest)

    def fail(self) -> None:
        if not self.ended:
            self.end_with(500, DatasetServerError.code, refusals.BUG)

    def end_with(self, status: int, code: str, message: str) -> None:
        """Tell of an error without the application, and end."""
        self.transport.write(refusals.closing(self.fields, status, code, message))
        self.end()

    def end(self) -> None:
        """Say that no more comes, and listen for a little while until the client closes.

        Otherwise the kernel tells those who are still sending that it was not read, and they throw the answer away.
        """
        if self.ended:
            return
        self._ended, self._left = True, LEFT_BYTES
        self.pipeline.clear()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._unset_keepalive_if_required()
        self._close_later(LEFT_SECONDS)

    def shutdown(self) -> None:
        end_in_time(self.transport, self.config, self.loop)
        super().shutdown()
        if "stopping" in self.app_state:
            self.app_state["stopping"].set()

    @property
    def _answering(self) -> Any:
        """The last request, where its answer is not complete."""
        cycle: Any = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    @property
    def _rests(self) -> bool:
        """Whether nothing has come that is to be answered."""
        return not self._answering
