"""What `make chaos` harms: a MySQL server that nothing else uses, and servers in processes of their own."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests import mysql
from tests.chaos.engines import Mysqld
from tests.chaos.service import await_ready
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import Server


# For all, so that it is made before any database, and ends after the last one is dropped.
@pytest.fixture(scope="session", autouse=True)
def mysqld(mysql_server: str) -> Generator[Mysqld]:
    server = Mysqld(mysql_server)
    yield server
    server.end()


@pytest.fixture
def process(migrated_mysql: str, media_root: Path, tmp_path: Path) -> Generator[tuple[Process, Server]]:
    """A server as it is in production."""
    mysql.empty(migrated_mysql)
    with users_listening() as address:
        settings = settings_of(migrated_mysql, media_root, address)
        with started(tmp_path, "serve", **settings) as running:
            server = server_of(running, settings)
            await_ready(server)
            yield running, server
