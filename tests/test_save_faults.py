"""Saves that are saved together while the database fails them, or takes too long."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from graphql_server import datasets, tallies
from graphql_server.app import opened
from graphql_server.database import Transaction
from graphql_server.errors import DatabaseUnavailable
from graphql_server.fixes import OnDuplicate
from graphql_server.saves import Saved
from tests.chaos.mysql import await_lock
from tests.holdings import IMAGES, ask, assert_whole
from tests.mysql import statements
from tests.photos import Upload, photo
from tests.saves import LOCK, THREE, fix, held, meanwhile, together
from tests.servers import settings_for, statements_sent

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("engine", ["mysql"])
async def test_saves_whose_connection_is_killed_are_told_so_at_once_and_leave_nothing(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root)

    async def killed(transaction: Transaction) -> None:
        ((connection,),) = await transaction.fetch("SELECT CONNECTION_ID()")
        await transaction.fetch(f"{LOCK} LOCK IN SHARE MODE")
        await asyncio.to_thread(statements, database_url, f"KILL {connection}")

    async with opened(settings) as resources:
        async with meanwhile(monkeypatch, killed) as sizes:
            outcomes = await together(resources.album, *THREE)
        assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3
        assert sizes == [1, 3]
        assert len(await asyncio.to_thread(ask, database_url, IMAGES)) == 1
        await asyncio.to_thread(assert_whole, settings)
        assert all(isinstance(outcome, Saved) for outcome in await together(resources.album, *THREE))
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.parametrize("engine", ["mysql"])
async def test_saves_that_meet_a_deadlock_are_tried_again_together(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root)
    async with opened(settings) as resources, resources.album.database.engine.session() as rival:

        async def deadlocked(transaction: Transaction) -> None:
            # Each holds what the other wants; the rival has changed more, so that this one is given up.
            await rival.begin()
            await rival.fetch("INSERT INTO image_tally (dataset_info_pk, part, images) VALUES (7, 1, 0), (7, 2, 0)")
            await rival.fetch("UPDATE image_tally SET images = 1 WHERE dataset_info_pk = 7")
            await transaction.fetch(f"{LOCK} LOCK IN SHARE MODE")
            sealing = asyncio.create_task(rival.fetch(f"{LOCK} FOR UPDATE"))
            await asyncio.to_thread(await_lock, database_url)
            try:
                await transaction.fetch("SELECT * FROM image_tally WHERE dataset_info_pk = 7 FOR UPDATE")
            finally:
                await sealing
                await rival.rollback()

        async with meanwhile(monkeypatch, deadlocked) as sizes:
            outcomes = await together(resources.album, *THREE)
    assert all(isinstance(outcome, Saved) for outcome in outcomes)
    assert sizes == [1, 3, 3]
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.parametrize("engine", ["mysql"])
async def test_the_time_that_is_waited_for_others_counts(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root, database_seconds=1.0)
    ready = asyncio.Barrier(3)
    async with opened(settings) as resources:
        add = resources.album.groups.add

        async def at_once(*args: Any) -> Any:
            await ready.wait()
            return await add(*args)

        monkeypatch.setattr(resources.album.groups, "add", at_once)
        with statements_sent() as sent:
            async with held(resources.album):
                tasks = [resources.album.save_fix(Upload(photo(seed=seed)), fix()) for seed in range(3)]
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, DatabaseUnavailable) for outcome in outcomes)
    # The second group has waited as long as the first one has tried.
    assert sum(text.startswith(LOCK) for text in sent) == 1
    await asyncio.to_thread(assert_whole, settings)


async def losing() -> None:
    """Connects for ever, and loses a cancellation in it, as asyncio.wait_for may on Python 3.11."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("engine", ["mysql"])
async def test_who_waits_for_a_connection_gives_up_in_time_where_the_driver_does_not(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings_for(database_url, media_root, database_seconds=0.2)) as resources:
        engine: Any = resources.album.database.engine
        monkeypatch.setattr(engine._pool, "_connect", losing)  # noqa: SLF001 - what the driver does
        async with engine.session():
            waiting = asyncio.create_task(resources.album.database.fetch("SELECT 1"))
            await asyncio.wait([waiting], timeout=30)
        assert isinstance(waiting.exception(), DatabaseUnavailable)


async def test_a_rollback_that_the_time_limit_meets_leaves_no_file(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root, database_seconds=1.0)

    async def fails(*_args: Any) -> None:
        await asyncio.sleep(0.6)
        raise ValueError("what comes behind the files")

    async with opened(settings) as resources:
        async with resources.album.database.engine.session() as session:
            kind = type(session)
        roll_back = kind.rollback

        async def slowly(self: Any) -> None:
            await asyncio.sleep(0.4)
            await roll_back(self)

        monkeypatch.setattr(kind, "rollback", slowly)
        monkeypatch.setattr(tallies, "add", fails)
        with pytest.raises((ValueError, DatabaseUnavailable)):
            await resources.album.save_fix(Upload(photo(seed=1)), fix())
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.parametrize("engine", ["mysql"])
async def test_those_who_wait_for_others_that_are_saved_are_patient(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root, database_seconds=2.0)
    lock = datasets.lock_untrained

    async def slowly(*args: Any) -> int:
        await asyncio.sleep(0.2)
        return await lock(*args)

    monkeypatch.setattr(datasets, "lock_untrained", slowly)
    async with opened(settings) as resources:
        given = fix(idempotency_key="once", on_duplicate=OnDuplicate.ALLOW)
        tasks = [resources.album.save_fix(Upload(photo(seed=1)), given) for _ in range(20)]
        outcomes = await asyncio.gather(*tasks)
    assert len({outcome.row[0] for outcome in outcomes}) == 1
    await asyncio.to_thread(assert_whole, settings)
