"""Connections to MySQL, for whoever comes first.

The driver's own pool lets newcomers overtake those who wait, for seconds where many do, and gives nobody a connection
while it makes one more, which may take long although others are free.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from asyncmy.connection import Connection
from tortoise.exceptions import DBConnectionError

from graphql_server.engines import cause_of
from graphql_server.figures import Slots

# What has not been used for so long may have been forgotten by something in between, without a word.
IDLE_SECONDS = 3600.0
# How long no further connection is asked for, after one was refused, while there are others to wait for.
PAUSE = 1.0
CLOSED = "The server has stopped."

log = structlog.stdlib.get_logger(__name__)


class Pool:
    """So many connections at most; `connect` makes one."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int) -> None:
        self.slots = Slots()
        self._connect = connect
        self._most = most
        self._free = deque[Connection]()
        self._turns = deque["asyncio.Future[Connection]"]()  # of those who wait
        self._making = set["asyncio.Task[None]"]()
        self._pausing: asyncio.TimerHandle | None = None  # after a refusal
        self._returned: asyncio.Event | None = None  # while somebody waits until none is used

    @property
    def size(self) -> int:
        return self.slots.used + len(self._free)

    async def acquire(self) -> Connection:
        """A connection that nobody else uses until it is released.

        Raises what `connect` does where no connection is there to be waited for.
        """
        while self._free:
            connection = self._free.popleft()
            if _is_good(connection):
                self.slots.used += 1
                return connection
            connection.close()
        return await self._turn()

    def release(self, connection: Any) -> None:
        """Take a connection back; one that is closed, or has a transaction left, is kept no longer."""
        self.slots.used -= 1
        if self._most and _is_good(connection) and not connection.get_transaction_status():
            self._give(connection)
        else:
            connection.close()
            self._make()
        if self._returned and not self.slots.used:
            self._returned.set()

    async def close(self) -> None:
        """Close all connections, those that are used once they have come back; nobody gets one any more."""
        self._most = 0
        while turn := self._next():
            turn.set_exception(DBConnectionError(CLOSED))
        for task in self._making:
            task.cancel()
        while self._free:
            await self._free.popleft().ensure_closed()
        if self.slots.used:
            self._returned = asyncio.Event()
            await self._returned.wait()

    async def _turn(self) -> Connection:
        if not self._most:
            raise DBConnectionError(CLOSED)
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        self._make()
        self.slots.waiting += 1
        try:
            return await turn
        except asyncio.CancelledError:
            if turn in self._turns:
                self._turns.remove(turn)
            elif not turn.cancelled() and not turn.exception():
                self.release(turn.result())  # It came just then.
            raise
        finally:
            self.slots.waiting -= 1

    def _next(self) -> "asyncio.Future[Connection] | None":
        """The turn of whoever has waited longest."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                return turn
        return None

    def _give(self, connection: Connection) -> None:
        if turn := self._next():
            self.slots.used += 1
            turn.set_result(connection)
        else:
            self._free.append(connection)

    def _make(self) -> None:
        """Make one more connection, where somebody waits for it and it would not be one too many."""
        making = len(self._making)
        if making >= len(self._turns) or self.size + making >= self._most or (self.slots.used and self._pausing):
            return
        # Apart from whoever waits: one that was given up may come first, and the driver connects by
        # asyncio.wait_for, which on Python 3.11 may lose a cancellation.
        task = asyncio.create_task(self._new())
        self._making.add(task)
        task.add_done_callback(self._made)

    async def _new(self) -> None:
        try:
            connection = await self._connect()
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            self._fail(error)
        else:
            self.slots.used += 1
            self.release(connection)  # to the next who waits

    def _made(self, task: "asyncio.Task[None]") -> None:
        self._making.discard(task)
        self._make()

    def _fail(self, error: Exception) -> None:
        if self.slots.used:  # One of those will do.
            self._pausing = self._pausing or asyncio.get_running_loop().call_later(PAUSE, self._go_on)
            log.warning("no further connection", connections=self.size, reason=str(cause_of(error)))
        elif turn := self._next():
            turn.set_exception(error)

    def _go_on(self) -> None:
        self._pausing = None
        self._make()


def _is_good(connection: Any) -> bool:
    return not connection._stream_broken and connection.loop.time() - connection.last_usage < IDLE_SECONDS  # noqa: SLF001 - the driver's own pool asks so
