"""What goes wrong between server and database: it is away, frozen, locked, or lost in the middle.

`make chaos` does the same for longer, and to an engine of its own.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphql_server import datasets
from graphql_server.app import opened
from graphql_server.errors import DatabaseUnavailable
from graphql_server.fixes import Fix
from tests import mysql
from tests.chaos import clients
from tests.chaos.mysql import await_lock, kill_connections, stranger
from tests.chaos.relay import Relay, relaying
from tests.chaos.service import (
    LIST,
    assert_errors,
    assert_full_service,
    assert_not_ready,
    await_ready,
    every_kind,
)
from tests.chaos.sweep import kept
from tests.front_door import codes
from tests.holdings import assert_whole
from tests.photos import Upload, photo
from tests.servers import Server, running, settings_for, statements_sent
from tests.together import CREATE, asking, at_once, saving
from tests.waiting import wait_until

SECONDS = 2.0  # DATABASE_SECONDS here
UNAVAILABLE = "DATABASE_UNAVAILABLE"


@pytest.fixture
def relayed(migrated_mysql: str, media_root: Path) -> Generator[tuple[Server, Relay]]:
    """A server with two connections at most, and the relay through which it reaches MySQL."""
    mysql.empty(migrated_mysql)
    with (
        relaying(migrated_mysql) as (url, relay),
        running(settings_for(url, media_root, database_pool=2, database_seconds=SECONDS)) as server,
    ):
        yield Server(server.url, settings_for(migrated_mysql, media_root), server.user_server), relay
        relay.thaw()


@pytest.fixture
def patient(migrated_mysql: str, media_root: Path) -> Generator[Server]:
    """A server that waits for its database longer than a busy machine can take for what a test does meanwhile."""
    mysql.empty(migrated_mysql)
    with running(settings_for(migrated_mysql, media_root, database_pool=2, database_seconds=20.0)) as server:
        yield server


@pytest.mark.parametrize("away", [Relay.down, Relay.hang_up], ids=["down", "hanging up"])
def test_a_database_that_is_away_is_an_error_in_time_and_full_service_returns_with_it(
    relayed: tuple[Server, Relay], away: Callable[[Relay], None]
) -> None:
    server, relay = relayed
    pk = server.save(photo())["pk"]
    away(relay)
    assert_errors(server, every_kind(pk) * 5, UNAVAILABLE, SECONDS)
    assert_not_ready(server, "database")
    relay.up()
    assert_full_service(server)


def test_a_database_that_is_frozen_is_an_error_in_time_and_full_service_returns_with_it(
    relayed: tuple[Server, Relay],
) -> None:
    server, relay = relayed
    pk = server.save(photo())["pk"]
    relay.freeze()
    assert_errors(server, every_kind(pk) * 5, UNAVAILABLE, SECONDS)
    assert_not_ready(server, "database")
    relay.thaw()
    # What was on its way when the database froze may still come to it; each of these is whole or not at all.
    assert_full_service(server)


def test_connections_that_are_killed_cost_no_more_than_the_requests_on_them(relayed: tuple[Server, Relay]) -> None:
    server, _ = relayed
    with ThreadPoolExecutor(1) as apart:
        answers = apart.submit(at_once, server, [saving(clients.fresh()) for _ in range(40)])
        killed = 0
        while not answers.done():
            killed += kill_connections(server.settings.database_url)
            time.sleep(0.1)
    assert killed > 0
    failed = [codes(answer) for answer in answers.result() if "errors" in answer]
    assert all(code == [UNAVAILABLE] for code in failed)
    acknowledged = {answer["data"]["saveFix"]["image"]["pk"] for answer in answers.result() if "errors" not in answer}
    assert acknowledged
    assert acknowledged <= {image[0] for image in kept(server.settings).images}
    assert_full_service(server, whole=False)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_that_is_cut_at_commit_leaves_each_row_with_its_file(
    relayed: tuple[Server, Relay], moment: str
) -> None:
    server, relay = relayed
    done = moment == "after"
    relay.cut_at(b"COMMIT", done=done)
    assert codes(server.upload(clients.fresh())) == [UNAVAILABLE]
    # Nobody knows whether it was committed, so the file stays in either case.
    wait_until(lambda: len(kept(server.settings).images) == done)
    assert len(kept(server.settings).strays) == (not done)
    await_ready(server)  # whoever connects anew says COMMIT, too
    relay.cut_at(b"COMMIT", done=done)
    assert codes(server.result(CREATE, {"title": "Lunch"})) == [UNAVAILABLE]
    titles = ["Lunch", "untrained"] if done else ["untrained"]
    wait_until(lambda: [title for _, title, _ in kept(server.settings).datasets] == titles)
    assert_full_service(server, whole=done)


def test_a_lock_that_is_held_for_a_moment_is_waited_for(patient: Server) -> None:
    with ThreadPoolExecutor(1) as apart:
        with stranger(patient.settings.database_url) as other:
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            saved = apart.submit(patient.upload, clients.fresh())
            await_lock(patient.settings.database_url)
            assert not saved.done()
        assert codes(saved.result()) == []
    assert_whole(patient.settings)


def test_a_lock_that_is_held_for_long_is_an_error_in_time(migrated_mysql: str, media_root: Path) -> None:
    mysql.empty(migrated_mysql)
    # A lock is waited for a whole second at least, which is to be shorter than a statement may take.
    with running(settings_for(migrated_mysql, media_root, database_seconds=3.0)) as server:
        with stranger(migrated_mysql) as other:
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            asks = [
                saving(clients.fresh()),
                asking(CREATE, title="Lunch"),
                saving(clients.fresh()),
                asking(CREATE, title="Supper"),
            ]
            assert_errors(server, asks, UNAVAILABLE, 3.0)
        assert_full_service(server)


def test_a_deadlock_that_the_server_loses_is_tried_again(patient: Server) -> None:
    rows = ", ".join(f"('Rival {number}', 'rival {number}')" for number in range(50))
    with ThreadPoolExecutor(1) as apart, statements_sent() as sent:
        # InnoDB gives up the transaction that has changed less.
        with stranger(patient.settings.database_url) as other:
            other.run(f"INSERT INTO dataset_info (title, title_key) VALUES {rows}, ('Lunch', 'lunch')")
            sealed = apart.submit(patient.result, CREATE, {"title": "Lunch"})
            await_lock(patient.settings.database_url)
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
        assert codes(sealed.result()) == []
    assert sum("FOR UPDATE" in text for text in sent) > 1
    assert_whole(patient.settings)


@pytest.mark.anyio
async def test_requests_that_are_given_up_at_any_moment_leave_all_whole_and_the_connections_free(
    database_url: str, media_root: Path
) -> None:
    settings = settings_for(database_url, media_root, database_pool=2)
    chance = random.Random(20261123)
    fix = Fix(original_file_name="a.jpg", exif_degree=0, model_degree=0, confidence=1.0, user_fix_degree=0)
    async with opened(settings) as resources:

        async def save() -> None:
            await resources.album.save_fix(Upload(clients.fresh()), fix)

        await save()  # the first one has to connect
        took: list[float] = []
        for _ in range(5):
            begun = time.monotonic()
            await save()
            took.append(time.monotonic() - begun)
        longest = 1.5 * min(took)
        given_up = 0
        for _ in range(50):
            tasks = [asyncio.create_task(save()) for _ in range(4)]
            for task in tasks:
                await asyncio.sleep(chance.uniform(0, longest / 2))
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()  # as anyio's scopes do, again and again
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            given_up += sum(isinstance(end, asyncio.CancelledError | DatabaseUnavailable) for end in ends)
            assert all(end is None or isinstance(end, asyncio.CancelledError | DatabaseUnavailable) for end in ends)
        assert given_up > 50
        async with asyncio.timeout(30):
            await asyncio.gather(*(save() for _ in range(8)))
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.anyio
async def test_who_has_sealed_a_dataset_is_told_so_whoever_takes_the_last_connection_then(
    database_url: str, media_root: Path
) -> None:
    async with opened(settings_for(database_url, media_root, database_pool=1, database_seconds=1.0)) as resources:
        engine = resources.album.database.engine
        sealing = asyncio.create_task(datasets.seal(resources.album.database, "Lunch"))
        while not engine.slots.used:  # noqa: ASYNC110 - it is seen in a number
            await asyncio.sleep(0)
        async with engine.session():
            sealed, fresh = await sealing
    assert [sealed[1], fresh[1]] == ["Lunch", "untrained"]


def test_nobody_who_waits_for_a_connection_is_overtaken(migrated_mysql: str, media_root: Path) -> None:
    counts = [0] * 40

    async def ask(number: int, fetch: Callable[[str], Awaitable[object]]) -> None:
        while sum(counts) < 40 * len(counts):
            await fetch("SELECT pk FROM dataset_info")
            counts[number] += 1

    async def run() -> None:
        async with (
            opened(settings_for(migrated_mysql, media_root, database_pool=1)) as resources,
            asyncio.TaskGroup() as all_,
        ):
            for number in range(len(counts)):
                all_.create_task(ask(number, resources.album.database.fetch))

    asyncio.run(run())
    # At two connections one may take longer than the other, and who has it falls behind.
    assert max(counts) - min(counts) <= 1, counts


def test_a_connection_that_is_long_in_being_made_holds_up_nobody_whom_another_serves(
    relayed: tuple[Server, Relay],
) -> None:
    server, relay = relayed
    server.data(LIST)
    relay.ignoring = True
    relay.delay = 0.05  # so that two want a connection at the same time
    assert {tuple(codes(answer)) for answer in at_once([server], [asking(LIST)] * 20, clients=5)} == {()}
