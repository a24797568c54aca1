"""The connection to the database: plain statements, and transactions that end well or leave nothing."""

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import structlog
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.backends.mysql.client import MySQLClient
from tortoise.backends.sqlite.client import SqliteClient
from tortoise.context import TortoiseContext

from graphql_server.database_url import connection_of
from graphql_server.deadlines import Deadline, Deadlines
from graphql_server.engines import Engine, Row, Session, cause_of, roll_back
from graphql_server.engines.mysql import MySQL
from graphql_server.engines.sqlite import Sqlite
from graphql_server.errors import DatabaseUnavailable, DatabaseUnfit, OperationTimedOut, SettingsError
from graphql_server.figures import Statements
from graphql_server.models import DatasetInfo

T = TypeVar("T")
ATTEMPTS = 10
# Of the time that a transaction may take, so much is kept for its end: to give up on a COMMIT that was sent
# leaves open whether it happened.
ENDING = 0.2
SETTLING_SECONDS = 5.0  # in which a new file of SQLite has got its form

# What the log says of an error by its kind, where it is no outage.
EVENTS = {"denied": "privilege missing", "unfit": "database unfit", "slow": "statement too slow"}

log = structlog.stdlib.get_logger(__name__)
statements = logging.getLogger("graphql_server.statements")


class Again(Exception):
    """Raised in a transaction that came too late and is to be tried once more."""


class Transaction:
    """What is between BEGIN and COMMIT."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.client: BaseDBAsyncClient = session.client
        self._undo: list[Callable[[], Awaitable[None]]] = []

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        statements.debug("%s", sql)
        return await self._session.fetch(sql, args)

    async def insert(self, sql: str, args: Sequence[Any]) -> int:
        """Insert a row and give its key; raises Tortoise's IntegrityError where there can be no such row."""
        statements.debug("%s", sql)
        return await self._session.insert(sql, args)

    def undo(self, step: Callable[[], Awaitable[None]]) -> None:
        """Have `step` done if the transaction is certain not to happen.

        Where COMMIT was sent and no answer came, nobody knows, and the steps are left out.
        """
        self._undo.append(step)

    async def undone(self) -> None:
        for step in reversed(self._undo):
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - what the transaction failed of must be told, and may be tried again
                log.warning("left behind", error=str(error))


class Database:
    """A pool of connections (MySQL) or one connection (SQLite); use it inside one event loop."""

    def __init__(self, context: TortoiseContext, engine: Engine, seconds: float) -> None:
        self._context = context
        self.engine = engine
        self.figures = Statements()
        self._seconds = seconds
        self._deadlines = Deadlines()
        self.changed = asyncio.Event()  # set whenever a transaction has been committed

    @classmethod
    async def open(cls, url: str, *, pool: int = 4, seconds: float = 5.0) -> "Database":
        """Make ready to connect; the connection itself is made by the first statement."""
        name, connection = connection_of(url, pool, seconds)
        context = TortoiseContext()
        with context:
            await context.init(
                config={
                    "connections": {name: connection},
                    "apps": {"datasets": {"models": ["graphql_server.models"], "default_connection": name}},
                }
            )
            client = context.db()
        if isinstance(client, MySQLClient):
            return cls(context, MySQL(client, seconds * ENDING), seconds)
        assert isinstance(client, SqliteClient)
        return cls(context, Sqlite(client), seconds)

    async def connect(self, *, create: bool = False) -> None:
        """Make the first connection, to a new file of SQLite only if told to; SettingsError tells why there is none."""
        try:
            if isinstance(self.engine, Sqlite):
                _try(self.engine.client.filename, create=create)
            async with self.engine.session():
                pass
        except SettingsError:
            raise
        except Exception as error:
            if self.engine.failure(error).kind == "bug" and not isinstance(error, sqlite3.Error):
                raise
            cause = cause_of(error)
            reason = cause.args[-1] if cause.args else type(cause).__name__
            raise SettingsError(f"DATABASE_URL: the database cannot be reached: {reason}") from None

    async def close(self) -> None:
        await self.engine.close()
        with self._context:
            await self._context.connections.close_all()

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        """Run one statement outside a transaction; `?` marks an argument on both engines."""
        statements.debug("%s", sql)
        began = time.perf_counter()
        try:
            with Deadline(self._deadlines, self._seconds):
                return await self.engine.fetch(sql, args)
        except Exception as error:
            raise self._told(error) from error
        finally:
            self.figures.alone.add(began)

    async def transact(self, work: Callable[[Transaction], Awaitable[T]], since: float | None = None) -> T:
        """Do `work` in a transaction; where it met a deadlock, again, as long as a statement may take.

        That time counts from `since` on the event loop's clock, by default from now.
        """
        # Tortoise keeps its models' statements once for a process, in the dialect of the engine opened last.
        if DatasetInfo._meta.default_connection != self.engine.name:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            raise RuntimeError("A process serves either SQLite or MySQL, and this one has opened both.")
        began = time.perf_counter()
        try:
            return await self._transact(work, asyncio.get_running_loop().time() if since is None else since)
        finally:
            self.figures.transactions.add(began)

    async def _transact(self, work: Callable[[Transaction], Awaitable[T]], since: float) -> T:
        end = since + self._seconds
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._attempt(work, end)
            except Exception as error:
                again = isinstance(error, Again) or self.engine.failure(error).kind == "transient"
                if not again or attempt == ATTEMPTS:
                    raise self._told(error) from error
                self.figures.tried_again += 1
                log.info("transaction tried again", attempt=attempt)
                await asyncio.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 - spreads the rivals, hides nothing
        raise AssertionError("unreachable")

    async def _attempt(self, work: Callable[[Transaction], Awaitable[T]], end: float) -> T:
        # A copy each, since a context remembers one entry only and transactions would take each other's.
        with copy(self._context):
            async with asyncio.timeout_at(end - ENDING * self._seconds) as limit, self.engine.session() as session:
                transaction = Transaction(session)
                try:
                    await session.begin()
                    result = await work(transaction)
                    if limit.expired():
                        raise TimeoutError  # noqa: TRY301 - Python 3.11's wait_for may swallow the cancellation
                except BaseException:
                    await _undo(session, transaction)
                    raise
                limit.reschedule(end)
                await self._commit(session, transaction)
                return result

    async def _commit(self, session: Session, transaction: Transaction) -> None:
        try:
            await session.commit()
        except Exception as error:
            # SQLite's own file says that it did not commit; a MySQL that is away may have.
            if self.engine.name == "sqlite" or self.engine.failure(error).kind == "transient":
                await _undo(session, transaction)
            else:
                await roll_back(session)
            raise
        self.changed.set()

    def _told(self, error: Exception) -> Exception:
        kind, advice = self.engine.failure(error)
        if kind == "bug" and not isinstance(error, Again):
            return error
        tell = log.error if advice else log.warning
        tell(EVENTS.get(kind, "database unavailable"), reason=_reason(cause_of(error)), advice=advice)
        if kind in ("denied", "unfit"):
            return DatabaseUnfit("The database is not as the server needs it; the server's log says what to do.")
        if kind == "slow":
            return OperationTimedOut("The database took longer for this than it may (DATABASE_SECONDS).")
        self.figures.unavailable += 1
        return DatabaseUnavailable("The database does not answer; try again.")


async def _undo(session: Session, transaction: Transaction) -> None:
    try:
        await roll_back(session)
    finally:  # also where the time was over meanwhile
        await transaction.undone()


def _reason(cause: BaseException) -> str:
    return f"{type(cause).__name__}: {' '.join(str(arg) for arg in cause.args)}".removesuffix(": ")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have a file written as Tortoise has it; of two who begin so at once, SQLite lets one fail without waiting."""
    end = time.monotonic() + SETTLING_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _try(file: str, *, create: bool) -> None:
    if not create and not Path(file).exists():
        raise SettingsError(f"DATABASE_URL: there is no file {file!r}; graphql-server migrate makes a new database")
    try:
        # Tortoise's driver would leave a thread behind that complains on stderr.
        with closing(sqlite3.connect(file)) as connection:
            _write_ahead(connection)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_CANTOPEN"):
            raise
        raise SettingsError(
            f"DATABASE_URL: the file {file!r} cannot be opened; make its folder, and let the server write both"
        ) from None
