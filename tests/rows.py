"""Rows put into the database by statements: lists need many rows, and no files."""

import asyncio
import base64
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphql_server import migrations
from tests import mysql
from tests.servers import Server, running, settings_for

IMAGE = {
    "original_file_name": "photo.jpg",
    "uuid_file_name": "0.jpg",
    "exif_degree": 0,
    "model_degree": 0,
    "confidence": 0.5,
    "user_fix_degree": 0,
}

# Write the tallies anew, after images have been put in or taken out by statements.
COUNTING = (
    "DELETE FROM image_tally",
    """INSERT INTO image_tally (dataset_info_pk, part, images)
    SELECT dataset_info_pk, 0, COUNT(*) FROM image_info GROUP BY dataset_info_pk
    UNION ALL SELECT 2147483648, 0, COUNT(*) FROM image_info""",
)


@dataclass
class Reader(Server):
    """A server that is asked over one kept connection: to open one takes longer than most answers."""

    client: httpx.Client | None = None

    def post(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        assert self.client is not None
        body = {"query": query, "variables": variables or {}}
        return self.client.post(f"{self.url}/graphql", json=body, headers={**self.headers, **headers}, timeout=60)


@contextmanager
def reading(server: Server) -> Generator[Reader]:
    with httpx.Client() as client:
        yield Reader(server.url, server.settings, server.user_server, server.token, client)


@contextmanager
def serving(engine: str, request: pytest.FixtureRequest, folder: Path, **settings: Any) -> Generator[Reader]:
    """Serve a database of its own, for the tests of a module that only read."""
    url = f"sqlite://{folder / 'test.db'}"
    if engine == "mysql":
        url = mysql.make(request.getfixturevalue("mysql_server"))
    try:
        asyncio.run(migrations.run(url, lambda name: None))
        with running(settings_for(url, folder / "media", **settings)) as server, reading(server) as reader:
            yield reader
    finally:
        if engine == "mysql":
            mysql.drop(url)


def sql(server: Server, text: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement apart from the server; `?` marks an argument. Gives its rows."""
    url = server.settings.database_url
    if url.startswith("mysql"):
        return mysql.statements(url, text.replace("?", "%s"), args=[_naive(arg) for arg in args])
    with closing(sqlite3.connect(url.removeprefix("sqlite://"), timeout=10)) as connection, connection:
        return connection.execute(text, [_text(arg) for arg in args]).fetchall()


def put(server: Server, table: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert rows by one statement; gives their keys, which grow in the order of the rows."""
    ((last,),) = sql(server, f"SELECT COALESCE(MAX(pk), 0) FROM {table}")
    pks = list(range(last + 1, last + 1 + len(rows)))
    columns = ["pk", *rows[0]]
    values = ", ".join(f"({', '.join('?' * len(columns))})" for _ in rows)
    args = [arg for pk, row in zip(pks, rows, strict=True) for arg in (pk, *row.values())]
    sql(server, f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}", args)
    if table == "image_info":
        for text in COUNTING:
            sql(server, text)
    return pks


def put_datasets(server: Server, titles: Sequence[str | None]) -> list[int]:
    return put(server, "dataset_info", [{"title": title} for title in titles])


def put_images(server: Server, dataset_pk: int, images: Sequence[Mapping[str, Any]]) -> list[int]:
    """Insert images; what one does not say is as in IMAGE, and all say the same columns."""
    return put(server, "image_info", [{"dataset_info_pk": dataset_pk, **IMAGE, **image} for image in images])


def untrained_pk(server: Server) -> int:
    return sql(server, "SELECT pk FROM dataset_info WHERE untrained = 1")[0][0]


def _naive(arg: Any) -> Any:
    return arg.astimezone(UTC).replace(tzinfo=None) if isinstance(arg, datetime) else arg


def _text(arg: Any) -> Any:
    return arg.astimezone(UTC).isoformat(" ") if isinstance(arg, datetime) else arg


def global_id(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
