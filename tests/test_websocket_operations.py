"""Operations over a websocket that are under way when their client gives them up or the server stops."""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from graphql_server import datasets
from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from graphql_server.feed import Feed
from tests.chaos.mysql import await_lock, stranger
from tests.holdings import assert_whole, files_in
from tests.live import IMAGES, START, Client, connected
from tests.photos import photo
from tests.processes import server_of, settings_of, started, users_listening
from tests.rows import sql
from tests.servers import Server, running, settings_for
from tests.together import CREATE, REMOVE
from tests.waiting import wait_until

QUERY = "{ untrained { title } }"


@pytest.mark.parametrize("gone", [True, False])
def test_a_mutation_that_has_begun_comes_to_its_end_whatever_its_client_does(
    server: Server, engine: str, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    image, committed = server.save(photo()), threading.Event()
    session: Any = {"mysql": MySQLSession, "sqlite": SqliteSession}[engine]
    commit = session.commit

    async def slowly(self: Any) -> None:
        await commit(self)
        committed.set()
        await asyncio.sleep(0.2)

    monkeypatch.setattr(session, "commit", slowly)
    with connected(server) as client:
        client.begin()
        client.subscribe(REMOVE, pk=image["pk"])
        assert committed.wait(30)
        if not gone:
            client.send(type="complete", id="1")
            client.subscribe(QUERY, "2")
            client.event("2")
    wait_until(lambda: files_in(server.settings.media_root) == {})


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_mutations_that_the_client_has_given_up_count_as_long_as_they_run(database_url: str, media_root: Path) -> None:
    settings = settings_for(database_url, media_root, live_subscriptions=2, database_seconds=30.0)
    with (
        running(settings) as server,
        connected(server) as client,
        closing(sqlite3.connect(database_url.removeprefix("sqlite://"))) as other,
    ):
        client.begin()
        other.execute("BEGIN IMMEDIATE")
        for number in range(2):
            client.subscribe(CREATE, title=str(number))
            client.send(type="ping")
            client.receive()
            time.sleep(0.3)  # until it waits for the database
            client.send(type="complete", id="1")
        client.subscribe(CREATE, title="2")
        time.sleep(0.3)
        other.rollback()  # They come to their end.
        assert client.closed()[0] == 4429


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_a_mutation_that_is_under_way_when_the_server_stops_is_done_and_told(
    database_url: str, media_root: Path
) -> None:
    with users_listening() as users:
        settings = settings_of(database_url, media_root, users)
        with (
            started(media_root.parent, "serve", **settings) as process,
            connected(server_of(process, settings)) as client,
        ):
            client.begin()
            with stranger(database_url) as other:
                other.run("SELECT pk FROM dataset_info FOR UPDATE")
                client.subscribe(CREATE, title="Lunch")
                await_lock(database_url)
                process.popen.terminate()
                time.sleep(0.3)
            assert client.event()["dataset"]["title"] == "Lunch"
            assert client.closed()[0] == 1001
            assert process.popen.wait(20) == 0


def test_a_server_that_stops_waits_for_no_subscription_and_begins_nothing_more(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, seal = Feed.check, datasets.seal

    async def late(feed: Feed, after: int) -> None:
        await asyncio.sleep(0.3)
        await check(feed, after)

    async def slowly(*args: Any) -> Any:
        await asyncio.sleep(0.6)
        return await seal(*args)

    monkeypatch.setattr(Feed, "check", late)
    monkeypatch.setattr(datasets, "seal", slowly)
    with ExitStack() as stack:
        with running(settings_for(database_url, media_root)) as server:
            client = stack.enter_context(connected(server))
            client.begin()
            client.subscribe(CREATE, "first", title="Lunch")
            client.subscribe(IMAGES, "second", after=START)
            apart = stack.enter_context(ThreadPoolExecutor(1))
            client.send(type="ping")
            client.receive()
            told = apart.submit(later, client)
        assert told.result() == (["Lunch"], 1001)
    assert_whole(server.settings)
    assert sql(server, "SELECT COUNT(*) FROM dataset_info WHERE title = 'Dinner'") == [(0,)]


def later(client: Client) -> tuple[list[str], int]:
    """Ask for another dataset when the server has been told to stop; gives the titles that are told, and the code."""
    time.sleep(0.2)
    client.subscribe(CREATE, "third", title="Dinner")
    told: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        told.extend(iter(client.receive, None))
    assert closed.value.rcvd
    answers = [message["payload"]["data"] for message in told if message["type"] == "next"]
    return [answer["createDataset"]["dataset"]["title"] for answer in answers], closed.value.rcvd.code
