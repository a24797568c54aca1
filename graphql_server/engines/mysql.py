"""MySQL and MariaDB, by a pool of connections."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any, Literal, cast

from asyncmy import errors
from asyncmy.connection import Connection
from tortoise.backends.mysql.client import MySQLClient, TransactionWrapper
from tortoise.exceptions import DBConnectionError

from graphql_server.engines import Failure, Row, cause_of
from graphql_server.engines.codes import MEANINGS, UNKNOWN
from graphql_server.engines.given_up import GivenUp
from graphql_server.engines.pool import Pool
from graphql_server.figures import Slots

# Statements that a connection keeps prepared: MySQL need not read them again, and their rows come in binary, which
# takes a third of the time to read.
PREPARED = 32
# Texts that are remembered with the driver's marks; a level of 50 lists has one of 12,000 characters.
MARKED = 128
LONGEST_MARKED = 32_000
AWAY = (errors.OperationalError, errors.InterfaceError, OSError, TimeoutError)
# Numbers from here on are the server's; those of 2000 to 2999 are the client's, of lines that cannot be used.
FIRST, CLIENTS = 1000, range(2000, 3000)
LOST = 2013  # what the driver says itself of an answer that does not come


@lru_cache(MARKED)
def _marked(sql: str) -> str:
    return sql.replace("?", "%s")


async def _execute(connection: Connection, sql: str, args: Sequence[Any]) -> Sequence[Row]:
    # The driver knows a prepared statement by its text, and the same object at once.
    text = _marked(sql) if len(sql) <= LONGEST_MARKED else sql.replace("?", "%s")
    cursor: Any = connection.cursor()
    await cursor.execute(text, args)
    # There is one result, and all of it has come, so that nothing is left to be closed.
    return await cursor.fetchall()


def _number(error: BaseException) -> int | None:
    """The number of an error that the server or the driver's protocol has one for."""
    cause = cause_of(error)
    number: object = cause.args[0] if cause.args and isinstance(cause, errors.MySQLError) else None
    return number if isinstance(number, int) else None


class MySQLSession:
    def __init__(self, parent: MySQLClient, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        wrapper = TransactionWrapper(parent)
        wrapper._connection = connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the class leaves it empty until its own context manager runs
        self.client = wrapper

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]:
        return await _execute(self._connection, sql, args)

    async def insert(self, sql: str, args: Sequence[Any]) -> int:
        return await cast("Any", self.client).execute_insert(sql.replace("?", "%s"), list(args))

    async def begin(self) -> None:
        await self._connection.begin()

    async def commit(self) -> None:
        await self._connection.commit()

    async def rollback(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._connection.rollback()
        except BaseException:
            self._connection.close()  # which the server takes for a rollback as well
            raise


class MySQL:
    """MySQL 8 and 9, and MariaDB from 10.6; a rollback is waited for no longer than `seconds`."""

    name: Literal["mysql"] = "mysql"

    def __init__(self, client: MySQLClient, seconds: float) -> None:
        self._client = client
        self._seconds = seconds
        self._read_timeout: float | None = client.extra.get("read_timeout")
        self._pool = Pool(self._connect, client.pool_maxsize)
        self._given_up = GivenUp(self._connect, client.extra["read_timeout"])

    async def fetch(self, sql: str, args: Sequence[Any]) -> Sequence[Row]:
        connection: Any = await self._pool.acquire()
        try:
            # Prepared only here, for that breaks the driver's cursors of dictionaries, which Tortoise uses in
            # transactions. Whoever calls waits for this only so long; a second limit would cost as much as a read.
            connection._stmt_cache_size, connection._read_timeout = PREPARED, None  # noqa: SLF001
            rows = await _execute(connection, sql, args)
        except BaseException as error:
            if isinstance(error, Exception) and _number(error) is None:
                connection.close()  # Its answer could not be read, and the rest of it is still there.
            self._leave(connection, error)
            raise
        finally:
            connection._stmt_cache_size, connection._read_timeout = 0, self._read_timeout  # noqa: SLF001
        self._pool.release(connection)
        return rows

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[MySQLSession]:
        connection = await self._pool.acquire()
        try:
            yield MySQLSession(self._client, connection, self._seconds)
        except BaseException as error:
            self._leave(connection, error)
            raise
        self._pool.release(connection)

    def _leave(self, connection: Connection, error: BaseException) -> None:
        """Give a connection back after an error; where that was a cancellation, once nothing runs on it any more."""
        cancelled = not isinstance(error, Exception)
        # The driver hangs up on an answer that nobody waits for.
        if cancelled and not cast("Any", connection).connected:
            self._given_up.end(connection.thread_id(), partial(self._pool.release, connection))
            return
        if cancelled or self.failure(error).kind == "away":
            connection.close()
        self._pool.release(connection)

    async def _connect(self) -> Connection:
        client = self._client
        connection = Connection(
            host=client.host,
            port=client.port,
            user=client.user,
            # As text, the driver would send it in Latin-1, which MySQL takes for another password.
            password=cast("Any", client.password.encode()),
            database=client.database,
            charset=client.charset,
            autocommit=True,
            **client.extra,
        )
        seconds: float = client.extra["connect_timeout"]
        try:
            # The driver limits only the way there. A proxy whose server is away may take a connection and say nothing.
            async with asyncio.timeout(seconds):
                await connection.connect()
        except TimeoutError:
            raise errors.OperationalError(LOST, f"no answer within {seconds:g} seconds") from None
        except RuntimeError as error:
            # What the driver raises where the server hangs up at once, having too many connections for instance.
            raise DBConnectionError(str(error)) from error
        return connection

    async def close(self) -> None:
        await self._pool.close()

    @property
    def slots(self) -> Slots:
        return self._pool.slots

    @property
    def connections(self) -> int:
        return self._pool.size

    def failure(self, error: BaseException) -> Failure:
        cause, number = cause_of(error), _number(error)
        if number is not None:
            if number in MEANINGS:
                return MEANINGS[number]
            if isinstance(cause, errors.OperationalError) and number >= FIRST and number not in CLIENTS:
                return UNKNOWN
        return Failure("away" if isinstance(cause, AWAY) or isinstance(error, DBConnectionError) else "bug")
