"""What SQLite and MySQL do differently: how statements are sent, transactions kept, failures read.

Transactions are begun, committed and rolled back here and not by Tortoise's `in_transaction`, because that
one keeps the connection for ever when BEGIN fails or is cancelled: on MySQL a slot of the pool is lost each
time, and on SQLite the only connection.
"""

from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Literal, NamedTuple, Protocol

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.exceptions import DBConnectionError, OperationalError

from graphql_server.endings import to_the_end
from graphql_server.figures import Slots

Row = tuple[Any, ...]


class Failure(NamedTuple):
    """What an error means: to try again, that the database is away, that a statement took too long, that a privilege
    is to be granted, that the database is otherwise not as it must be, or that the code is to be mended.

    `advice` tells the operator what to do, where there is something.
    """

    kind: Literal["transient", "away", "slow", "denied", "unfit", "bug"]
    advice: str = ""


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

    async def close(self) -> None:
        """Close the connections that Tortoise does not keep."""

    def failure(self, error: BaseException) -> Failure:
        """Tell what an error means, which may be Tortoise's or the driver's."""
        ...


class Fetching(Protocol):
    """Whatever runs statements: the database, a transaction, a session."""

    def fetch(self, sql: str, args: Sequence[Any] = ()) -> Awaitable[Sequence[Row]]: ...


class Session(Protocol):
    """A connection of one's own, for a transaction or a lock; `client` is what Tortoise's models use."""

    @property
    def client(self) -> BaseDBAsyncClient: ...

    async def fetch(self, sql: str, args: Sequence[Any] = ()) -> Sequence[Row]: ...
    async def insert(self, sql: str, args: Sequence[Any]) -> int: ...
    async def begin(self) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...


def cause_of(error: BaseException) -> BaseException:
    """The driver's own error: Tortoise hands it over as the argument of its own, or repeats the address instead."""
    if isinstance(error, DBConnectionError):
        return error.__cause__ or error.__context__ or error
    inner = error.args[0] if isinstance(error, OperationalError) and error.args else error
    return inner if isinstance(inner, BaseException) else error


async def roll_back(session: Session) -> None:
    """Roll back to the end, even when the task is cancelled meanwhile; a lost connection has rolled back."""
    with suppress(Exception):
        await to_the_end(session.rollback())
