"""What SQLite and MySQL do differently: how statements are sent, transactions kept, failures read.

Transactions are begun, committed and rolled back here and not by Tortoise's `in_transaction`, because that
one keeps the connection for ever when BEGIN fails or is cancelled: on MySQL a slot of the pool is lost each
time, and on SQLite the only connection.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, cast

from asyncmy import errors as mysql
from asyncmy.connection import Connection
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.mysql.client import MySQLClient
from tortoise.backends.mysql.client import TransactionWrapper as MySQLTransaction
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.backends.sqlite.client import SqliteTransactionWrapper as SqliteTransaction
from tortoise.exceptions import DBConnectionError, OperationalError

from graphql_server.figures import Slots

T = TypeVar("T")
Row = tuple[Any, ...]
Failure = Literal["transient", "away", "bug"]

# Statements that a connection keeps prepared: MySQL need not read them again, and their rows come in binary, which
# takes a third of the time to read.
PREPARED = 32
# A deadlock, a lock that was waited for too long, and the two ways in which Group Replication says "again".
TRANSIENT = {1213, 1205, 1180, 3101}
AWAY_CLASSES = (mysql.OperationalError, mysql.InterfaceError, OSError, TimeoutError, DBConnectionError)
# The server is read-only, and a Galera node that has lost the others.
AWAY_CODES = {1290, 1792, 1836, 1047}
SQLITE_AWAY = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")


class Engine(Protocol):
    """One kind of database."""

    @property
    def name(self) -> Literal["sqlite", "mysql"]: ...

    @property
    def slots(self) -> Slots:
        """The connections that are in use, and who waits for one."""
        ...

    @property
    def connections(self) -> int:
        """How many connections there are, used or not."""
        ...

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        """Run one statement, its arguments marked by `?`, and give its rows."""
        ...

    def session(self) -> "AbstractAsyncContextManager[Session]":
        """One connection that nobody else uses until the block ends."""
        ...

    def failure(self, error: BaseException) -> Failure:
        """Tell whether to try again, to say that the database is away, or to mend the code."""
        ...


class Session(Protocol):
    """A connection of one's own, for a transaction or a lock; `client` is what Tortoise's models use."""

    @property
    def client(self) -> BaseDBAsyncClient: ...

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]: ...
    async def insert(self, sql: str, args: Sequence[Any]) -> int: ...
    async def begin(self) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...


def _cause(error: BaseException) -> BaseException:
    """The driver's own error: Tortoise hands it over as the argument of its own."""
    inner = error.args[0] if isinstance(error, OperationalError) and error.args else error
    return inner if isinstance(inner, BaseException) else error


async def _execute(connection: Connection, sql: str, args: Sequence[Any]) -> Sequence[Row]:
    async with connection.cursor() as cursor:
        await cast("Any", cursor).execute(sql.replace("?", "%s"), args)
        return cast("Sequence[Row]", await cursor.fetchall())


class MySQLSession:
    def __init__(self, parent: MySQLClient, connection: Connection, seconds: float) -> None:
        self.connection = connection
        self._seconds = seconds
        wrapper = MySQLTransaction(parent)
        wrapper._connection = connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the class leaves it empty until its own context manager runs
        self.client = wrapper

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        return await _execute(self.connection, sql, args)

    async def insert(self, sql: str, args: Sequence[Any]) -> int:
        return await cast("Any", self.client).execute_insert(sql.replace("?", "%s"), list(args))

    async def begin(self) -> None:
        await self.connection.begin()

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self.connection.rollback()
        except BaseException:
            self.connection.close()  # which the server takes for a rollback as well
            raise


class MySQL:
    """MySQL 8 and 9, and MariaDB from 10.6; a rollback is waited for no longer than `seconds`."""

    name: Literal["mysql"] = "mysql"

    def __init__(self, client: MySQLClient, seconds: float) -> None:
        self.client = client
        self.slots = Slots()
        self.seconds = seconds
        self._read_timeout: float | None = client.extra.get("read_timeout")
        self._opening = asyncio.Lock()

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        connection: Any = await self._acquire()
        try:
            # Prepared only here, for that breaks the driver's cursors of dictionaries, which Tortoise uses in
            # transactions. Whoever calls waits for this only so long; a second limit would cost as much as a read.
            connection._stmt_cache_size, connection._read_timeout = PREPARED, None  # noqa: SLF001
            return await _execute(connection, sql, args)
        except BaseException as error:
            self._drop(connection, error)
            raise
        finally:
            connection._stmt_cache_size, connection._read_timeout = 0, self._read_timeout  # noqa: SLF001
            self._release(connection)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[MySQLSession]:
        connection = await self._acquire()
        try:
            yield MySQLSession(self.client, connection, self.seconds)
        except BaseException as error:
            self._drop(connection, error)
            raise
        finally:
            self._release(connection)

    async def _acquire(self) -> Connection:
        self.slots.waiting += 1
        try:
            connection = await (self.client._pool or await self._pool()).acquire()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as below
        except RuntimeError as error:
            # What the driver raises where the server hangs up at once, having too many connections for instance.
            raise DBConnectionError(str(error)) from error
        finally:
            self.slots.waiting -= 1
        self.slots.used += 1
        return connection

    def _drop(self, connection: Connection, error: BaseException) -> None:
        # The answer to a cancelled statement is still on the wire; nobody else may read it.
        if not isinstance(error, Exception) or self.failure(error) == "away":
            connection.close()

    def _release(self, connection: Connection) -> None:
        self.slots.used -= 1
        cast("Any", self.client._pool).release(connection)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as below

    async def _pool(self) -> Any:
        pool = self.client._pool  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - Tortoise waits for it without a limit
        if pool is None:
            async with self._opening:
                if self.client._pool is None:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                    await self.client.create_connection(with_db=True)
            pool = self.client._pool  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return pool

    @property
    def connections(self) -> int:
        pool: Any = self.client._pool  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - Tortoise does not tell
        return pool.size if pool else 0

    def failure(self, error: BaseException) -> Failure:
        cause = _cause(error)
        code = cause.args[0] if cause.args else None
        if code in TRANSIENT:
            return "transient"
        return "away" if isinstance(cause, AWAY_CLASSES) or code in AWAY_CODES else "bug"


def _sqlite_args(args: Sequence[Any]) -> list[Any]:
    # As Tortoise writes them; sqlite3's own way of writing moments is on its way out.
    return [arg.isoformat(" ") if isinstance(arg, datetime) else arg for arg in args]


class SqliteSession:
    def __init__(self, parent: SqliteClient) -> None:
        self.client = SqliteTransaction(parent)

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        return cast("Sequence[Row]", await self._connection.execute_fetchall(sql, _sqlite_args(args)))

    async def insert(self, sql: str, args: Sequence[Any]) -> int:
        return await cast("Any", self.client).execute_insert(sql, _sqlite_args(args))

    async def begin(self) -> None:
        # A deferred BEGIN fails at its first write, without waiting, when another process has written meanwhile.
        await self.fetch("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        # The thread commits all the same, and a COMMIT that fails leaves the transaction open for the next one.
        await _to_the_end(self._connection.commit())

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
            return cast("Sequence[Row]", await connection.execute_fetchall(sql, _sqlite_args(args)))

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
        cause = _cause(error)
        name: str = getattr(cause, "sqlite_errorname", "") if isinstance(cause, sqlite3.Error) else ""
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return "transient"
        return "away" if name.startswith(SQLITE_AWAY) or isinstance(cause, (OSError, TimeoutError)) else "bug"


async def roll_back(session: Session) -> None:
    """Roll back to the end, even when the task is cancelled meanwhile; a lost connection has rolled back."""
    with suppress(Exception):
        await _to_the_end(session.rollback())


async def _to_the_end(call: Coroutine[Any, Any, T]) -> T:
    """Await a call to its end; where the task is cancelled meanwhile, that is raised after it."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        task.result()
        raise
