"""Migrations that are run: here, in processes of their own, and cut off."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from graphql_server import migrations
from graphql_server.database import Database
from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from tests.holdings import ask
from tests.processes import PROJECT, environment

DATASETS = "{ datasets { nodes { pk title isUntrained createdAt sealedAt images { nodes { pk } } } } }"


def migrate(url: str) -> list[str]:
    """Migrate; gives the names of what was applied."""
    said: list[str] = []
    asyncio.run(migrations.run(url, said.append))
    return said


def check(url: str) -> None:
    async def open_and_check() -> None:
        database = await Database.open(url)
        try:
            await migrations.check(database)
        finally:
            await database.close()

    asyncio.run(open_and_check())


def tables(url: str) -> list[list[tuple[Any, ...]]]:
    """How the tables are made, column by column and key by key."""
    if url.startswith("sqlite"):
        return [ask(url, "SELECT name, sql FROM sqlite_master ORDER BY name")]
    views = {
        "columns": "table_name, column_name, column_type, is_nullable, collation_name",
        "statistics": "table_name, index_name, seq_in_index, column_name, non_unique",
        "table_constraints": "table_name, constraint_name, constraint_type",
    }
    select = "SELECT {1} FROM information_schema.{0} WHERE {2} = DATABASE() ORDER BY {1}"
    schema = {"table_constraints": "constraint_schema"}
    return [ask(url, select.format(view, names, schema.get(view, "table_schema"))) for view, names in views.items()]


def assert_both_migrate(url: str) -> None:
    started = [start(url) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    done = "The database is up to date."
    assert sorted(output.splitlines() for output, _ in said) == [[*migrations.MIGRATIONS, done], [done]]


def start(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "graphql_server", "migrate"],
        cwd=PROJECT,
        env=environment({"DATABASE_URL": url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class CutOff(Exception):
    pass


def cut_off_after(patch: pytest.MonkeyPatch, writes: int) -> None:
    """Let a session write so many times and fail at its next statement, as if the process had died there."""
    left = writes
    for session in (MySQLSession, SqliteSession):
        fetch = session.fetch

        async def limited(self: Any, sql: str, args: Sequence[Any] = (), fetch: Any = fetch) -> Any:
            nonlocal left
            if not left and "RELEASE_LOCK" not in sql:
                raise CutOff
            left -= sql.startswith(("ALTER", "INSERT", "REPLACE", "UPDATE", "CREATE INDEX", "CREATE UNIQUE"))
            return await fetch(self, sql, args)

        patch.setattr(session, "fetch", limited)


def migrate_after_many_cuts(url: str) -> int:
    """Migrate, cut off after one write or two, again and again until it is through; gives the cuts."""
    for cut in range(100):
        with pytest.MonkeyPatch.context() as patch:
            # Two as well, because of the writes that are kept only together.
            cut_off_after(patch, 1 + cut % 2)
            try:
                migrate(url)
            except CutOff:
                continue
            return cut
    raise AssertionError("no end")
