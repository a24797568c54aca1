"""What is done to the MySQL server behind a running server's back."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from asyncmy.errors import OperationalError

from graphql_server.database import Database
from graphql_server.engines import Session
from tests.mysql import statements
from tests.waiting import wait_until

LIST = "SHOW FULL PROCESSLIST"
WAITING = (
    "SELECT COUNT(*) FROM information_schema.innodb_trx "
    "JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE trx_state = 'LOCK WAIT' AND db = DATABASE()"
)


def connections(url: str) -> list[int]:
    """The connections to this database but for the one that asks."""
    name = url.rsplit("/", 1)[1]
    return [row[0] for row in statements(url, LIST) if row[3] == name and row[7] != LIST]


def await_lock(url: str) -> None:
    """Wait until somebody waits for a lock in this database."""
    # InnoDB looks anew only when nobody has asked for a tenth of a second.
    wait_until(lambda: statements(url, WAITING)[0][0] > 0, pause=0.2)


def kill_connections(url: str) -> int:
    """Cut every connection to this database; gives their number."""
    found = connections(url)
    for connection in found:
        with suppress(OperationalError):  # it has ended meanwhile
            statements(url, f"KILL {connection}")
    return len(found)


class Stranger:
    """Another client of the database, in the middle of a transaction."""

    def __init__(self, runner: asyncio.Runner, session: Session) -> None:
        self._runner = runner
        self._session = session

    def run(self, *texts: str) -> None:
        for text in texts:
            self._runner.run(self._session.fetch(text))


@contextmanager
def stranger(url: str) -> Generator[Stranger]:
    """Begin a stranger's transaction; it is rolled back when the block ends."""
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(url, pool=1))
        opening = database.engine.session()
        session = runner.run(opening.__aenter__())
        try:
            runner.run(session.begin())
            yield Stranger(runner, session)
            runner.run(session.rollback())
        finally:
            runner.run(opening.__aexit__(None, None, None))
            runner.run(database.close())
