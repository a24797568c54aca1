"""SQLite, by the one connection that Tortoise keeps."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Literal, cast

from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionWrapper

from graphql_server.endings import to_the_end
from graphql_server.engines import Failure, Row, cause_of
from graphql_server.figures import Slots

WRITABLE = Failure("away", "let the server write the database's file and its folder")
# By the beginnings of SQLite's own names of errors: https://sqlite.org/rescode.html
MEANINGS = {
    "SQLITE_BUSY": Failure("transient"),
    "SQLITE_LOCKED": Failure("transient"),
    "SQLITE_FULL": Failure("away", "make room on the database's disk"),
    "SQLITE_IOERR": Failure("away", "see to the database's disk"),
    "SQLITE_CANTOPEN": WRITABLE,
    "SQLITE_READONLY": WRITABLE,
    "SQLITE_PERM": WRITABLE,
    "SQLITE_CORRUPT": Failure("unfit", "restore the database's file from a backup"),
    "SQLITE_NOTADB": Failure("unfit", "restore the database's file from a backup"),
}
STEP = 0.05  # seconds; an interruption that comes before a statement has begun is lost
MISSING = ("no such table", "no such column", "no such index")


def _args(args: Sequence[Any]) -> list[Any]:
    # As Tortoise writes them; sqlite3's own way of writing moments is on its way out.
    return [arg.isoformat(" ") if isinstance(arg, datetime) else arg for arg in args]


async def _interrupt(connection: Any, turn: AsyncExitStack) -> None:
    """End what nobody waits for any more; the connection's thread runs it on, and others would wait behind it."""
    async with turn:
        behind = asyncio.ensure_future(connection.execute_fetchall("SELECT 1"))
        while not behind.done():
            await connection.interrupt()
            await asyncio.wait([behind], timeout=STEP)
        behind.exception()  # where that was interrupted itself


class SqliteSession:
    def __init__(self, parent: SqliteClient) -> None:
        self.client = SqliteTransactionWrapper(parent)

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        return cast("Sequence[Row]", await self._connection.execute_fetchall(sql, _args(args)))

    async def insert(self, sql: str, args: Sequence[Any]) -> int:
        return await cast("Any", self.client).execute_insert(sql, _args(args))

    async def begin(self) -> None:
        # A deferred BEGIN fails at its first write, without waiting, when another process has written meanwhile.
        await self.fetch("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        # The thread commits all the same, and a COMMIT that fails leaves the transaction open for the next one.
        await to_the_end(self._connection.commit())

    async def rollback(self) -> None:
        await self._connection.rollback()

    @property
    def _connection(self) -> Any:
        return self.client._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class Sqlite:
    """SQLite, by the one connection that Tortoise keeps to a file."""

    name: Literal["sqlite"] = "sqlite"

    def __init__(self, client: SqliteClient) -> None:
        self.client = client
        self.slots = Slots()
        self._given_up = set[asyncio.Task[None]]()

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        async with AsyncExitStack() as turn:
            connection = await turn.enter_async_context(self._alone())
            try:
                return cast("Sequence[Row]", await connection.execute_fetchall(sql, _args(args)))
            except asyncio.CancelledError:
                ending = asyncio.create_task(_interrupt(connection, turn.pop_all()))
                self._given_up.add(ending)
                ending.add_done_callback(self._given_up.discard)
                raise

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[SqliteSession]:
        async with self._alone():
            yield SqliteSession(self.client)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[Any]:
        turn = cast("Any", self.client).acquire_connection()
        self.slots.waiting += 1
        try:
            connection = await turn.__aenter__()
        finally:
            self.slots.waiting -= 1
        self.slots.used += 1
        try:
            yield connection
        finally:
            self.slots.used -= 1
            await turn.__aexit__(None, None, None)

    @property
    def connections(self) -> int:
        return int(self.client._connection is not None)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - Tortoise does not tell

    async def close(self) -> None:
        for ending in self._given_up:
            ending.cancel()

    def failure(self, error: BaseException) -> Failure:
        cause = cause_of(error)
        name: str = getattr(cause, "sqlite_errorname", "") if isinstance(cause, sqlite3.Error) else ""
        if name == "SQLITE_ERROR" and str(cause).startswith(MISSING):
            return Failure("unfit", "run graphql-server migrate, of the server's version")
        known = (failure for beginning, failure in MEANINGS.items() if name.startswith(beginning))
        return next(known, Failure("away" if isinstance(cause, (OSError, TimeoutError)) else "bug"))
