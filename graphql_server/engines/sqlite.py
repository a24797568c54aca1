"""SQLite, by the one connection that Tortoise keeps."""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, cast

from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionWrapper

from graphql_server.engines import Failure, Row, cause_of, to_the_end
from graphql_server.figures import Slots

AWAY = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")


def _args(args: Sequence[Any]) -> list[Any]:
    # As Tortoise writes them; sqlite3's own way of writing moments is on its way out.
    return [arg.isoformat(" ") if isinstance(arg, datetime) else arg for arg in args]


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

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        async with self._alone() as connection:
            return cast("Sequence[Row]", await connection.execute_fetchall(sql, _args(args)))

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

    def failure(self, error: BaseException) -> Failure:
        cause = cause_of(error)
        name: str = getattr(cause, "sqlite_errorname", "") if isinstance(cause, sqlite3.Error) else ""
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return "transient"
        return "away" if name.startswith(AWAY) or isinstance(cause, (OSError, TimeoutError)) else "bug"
