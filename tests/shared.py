"""A server that the tests of one module share: they look at no more than their answer, or whether anything changed."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from graphql_server import migrations
from tests import mysql
from tests.servers import Server, running, settings_for


@contextmanager
def sharing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, **settings: Any
) -> Generator[Server]:
    """Run a server on the engine that is the fixture's parameter; its database is empty at first."""
    folder = tmp_path_factory.mktemp("shared")
    url = f"sqlite://{folder / 'test.db'}"
    if request.param == "mysql":
        url = request.getfixturevalue("migrated_mysql")
        mysql.empty(url)
    else:
        asyncio.run(migrations.run(url, lambda name: None))
    with running(settings_for(url, folder / "media", **settings)) as server:
        yield server
