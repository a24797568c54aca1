"""The MySQL-speaking server of the tests: its databases are made, emptied and dropped here."""

import asyncio
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import asyncmy

PASSWORD = "secret-of-the-test"


def statements(url: str, *texts: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run statements on the server's own connection, apart from the code under test; gives the last one's rows."""
    return asyncio.run(_run(url, texts, args))


async def _run(url: str, texts: Sequence[str], args: Sequence[Any]) -> list[tuple[Any, ...]]:
    parts = urlsplit(url)
    connection = await cast("Any", asyncmy).connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=parts.path.lstrip("/"),
        autocommit=True,
        charset="utf8mb4",
    )
    try:
        rows: list[tuple[Any, ...]] = []
        async with connection.cursor() as cursor:
            for text in texts:
                await cursor.execute(text, args or None)
                rows = list(await cursor.fetchall())
        return rows
    finally:
        await connection.ensure_closed()


def make(server_url: str) -> str:
    """The address of a new, empty database."""
    name = f"test_{uuid4().hex[:12]}"
    statements(server_url, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    return server_url.rsplit("/", 1)[0] + "/" + name


def drop(url: str) -> None:
    statements(url, f"DROP DATABASE {url.rsplit('/', 1)[1]}")


@contextmanager
def account(url: str, limits: str = "", password: str = PASSWORD) -> Generator[str]:
    """The name of a user who may do nothing, and is there until the block ends."""
    name = f"u{uuid4().hex[:12]}"
    statements(url, f"CREATE USER '{name}'@'%' IDENTIFIED BY '{password}' {limits}")
    try:
        yield name
    finally:
        statements(url, f"DROP USER '{name}'@'%'")


def grant(url: str, name: str, privileges: str, table: str = "*") -> None:
    statements(url, f"GRANT {privileges} ON {url.rsplit('/', 1)[1]}.{table} TO '{name}'@'%'")


def address_for(name: str, url: str, password: str = PASSWORD) -> str:
    """The database's address for that user."""
    return re.sub(r"//[^@]+@", f"//{name}:{quote(password, safe='')}@", url)


def empty(url: str) -> None:
    """Leave a migrated database as a fresh one: an untrained dataset and nothing else."""
    statements(
        url,
        "TRUNCATE dataset_change",  # which gives keys from 1 again: a gap before the first would be waited for
        "DELETE FROM idempotency_key",
        "DELETE FROM image_info",
        "DELETE FROM image_tally",
        "DELETE FROM dataset_info",
        "INSERT INTO dataset_info (title, untrained) VALUES ('untrained', 1)",
    )
