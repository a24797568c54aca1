"""Statements of MySQL that nobody waits for any more, and that go on, because MySQL does not look after its clients."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from asyncmy.connection import Connection
from asyncmy.errors import MySQLError
from tortoise.exceptions import DBConnectionError


class GivenUp:
    """Ends them, by a connection of its own that is open as long as there are any.

    `connect` opens it. After `seconds` no more is waited for: MySQL has ended them itself.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], seconds: float) -> None:
        self._connect = connect
        self._seconds = seconds
        self._left = deque[tuple[int, Callable[[], None]]]()
        self._task: asyncio.Task[None] | None = None

    def end(self, thread: int, done: Callable[[], None]) -> None:
        """End what runs on a connection, by MySQL's number for it, and say when that is done."""
        self._left.append((thread, done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            with suppress(MySQLError, OSError, DBConnectionError):  # It is away, and with it what ran.
                async with asyncio.timeout(self._seconds):
                    await self._end_all()
        finally:
            self._task = None
            while self._left:
                self._left.popleft()[1]()

    async def _end_all(self) -> None:
        connection = cast("Any", await self._connect())
        try:
            while self._left:
                thread, done = self._left[0]
                with suppress(MySQLError):  # It has come to its end meanwhile.
                    await connection.query(f"KILL {thread}")
                self._left.popleft()
                done()
        finally:
            connection.close()
