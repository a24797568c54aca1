"""Documents that are remembered: how many, whose, and who waits while one is prepared."""

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import pytest

from graphql_server import migrations
from graphql_server.planner import Planner
from graphql_server.schema.documents import Documents
from graphql_server.schema.execution import build_schema
from graphql_server.schema.fields import links_of
from graphql_server.schema.limits import Limits
from graphql_server.schema.operations import Document
from graphql_server.schema.types import TABLES
from graphql_server.settings import Settings
from graphql_server.users import User

SETTINGS = Settings(database_url="", user_server_url="", media_signing_key=())


def documents() -> Documents:
    schema = build_schema()
    graphql = schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as the executor gets it
    return Documents(graphql, Planner(graphql, links_of(schema, TABLES, {})), Limits.of(SETTINGS), introspection=False)


USER = User()


async def seen_once(remembered: Documents, query: str, known: User | None = USER) -> weakref.ref[Document]:
    document = await remembered.get(query, known)
    assert isinstance(document, Document)
    return weakref.ref(document)


async def flood_of_strangers(remembered: Documents) -> list[weakref.ref[Document]]:
    queries = [f'{{ node(id: "{number} {"x" * 4_000}") {{ id }} }}' for number in range(100)]
    return [await seen_once(remembered, query, None) for query in queries]


@pytest.mark.anyio
async def test_a_flood_of_documents_neither_fills_the_memory_nor_forgets_those_in_use() -> None:
    remembered = documents()
    hot = await remembered.get("{ untrained { pk } }", USER)
    seen: list[weakref.ref[Document]] = []
    for number in range(100):
        seen.append(await seen_once(remembered, f'{{ node(id: "{number} {"x" * 20_000}") {{ id }} }}'))
        assert await remembered.get("{ untrained { pk } }", USER) is hot
    gc.collect()
    assert sum(document() is not None for document in seen) <= 10


@pytest.mark.anyio
async def test_what_strangers_send_pushes_out_nothing_that_known_users_sent() -> None:
    remembered = documents()
    hot = await remembered.get("{ untrained { pk } }", USER)
    seen = await flood_of_strangers(remembered)
    assert await remembered.get("{ untrained { pk } }", USER) is hot
    gc.collect()
    assert sum(document() is not None for document in seen) <= 12


@pytest.mark.anyio
async def test_what_somebody_sent_before_it_was_certain_who_it_is_is_remembered() -> None:
    remembered = documents()
    first = await remembered.get("{ untrained { pk } }", None)
    assert await remembered.get("{ untrained { pk } }", USER) is first
    await flood_of_strangers(remembered)
    assert await remembered.get("{ untrained { pk } }", USER) is first


@pytest.mark.anyio
async def test_the_documents_of_strangers_wait_for_each_other_and_nobody_else_for_them() -> None:
    remembered = documents()
    flood = [
        asyncio.create_task(remembered.get(f"query Q{number} {{ untrained {{ pk }} }}", None)) for number in range(99)
    ]
    await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
    done = sum(task.done() for task in flood)
    await remembered.get("query New { untrained { title } }", USER)
    assert sum(task.done() for task in flood) <= done + 2
    await asyncio.gather(*flood)


@pytest.mark.anyio
async def test_documents_that_were_refused_are_not_kept() -> None:
    remembered = documents()
    refused = await remembered.get("{ nothing }", USER)
    assert not isinstance(refused, Document)
    assert await remembered.get("{ nothing }", USER) is not refused


def test_a_new_document_does_not_wait_in_the_threads_that_write_files(tmp_path: Path) -> None:
    """Documents have a thread of their own; with the default ones busy, an operation is answered all the same."""
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))

    async def ask() -> None:
        held = threading.Event()
        loop = asyncio.get_running_loop()
        busy = [loop.run_in_executor(None, held.wait) for _ in range(64)]
        try:
            async with asyncio.timeout(30):
                assert isinstance(await documents().get("{ untrained { pk } }", USER), Document)
        finally:
            held.set()
            await asyncio.gather(*busy)

    asyncio.run(ask())
