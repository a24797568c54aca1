"""Saves that come at the same time, and are saved together."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from graphql_server.app import opened
from graphql_server.database import Transaction
from graphql_server.errors import Conflict, StorageUnavailable
from graphql_server.fixes import OnDuplicate
from graphql_server.saves import Save, Saved
from tests.holdings import IMAGES, ask, assert_whole
from tests.photos import Upload, photo
from tests.saves import LOCK, THREE, await_that, fix, held, meanwhile, together
from tests.servers import settings_for, statements_sent
from tests.together import come

pytestmark = pytest.mark.anyio


async def test_those_who_come_while_others_are_saved_are_saved_together(database_url: str, media_root: Path) -> None:
    settings = settings_for(database_url, media_root)
    names = [f"{number}.jpg" for number in range(12)]
    async with opened(settings) as resources:
        asks = [(photo(seed=number), fix(original_file_name=name)) for number, name in enumerate(names)]
        with statements_sent() as sent:
            outcomes = await together(resources.album, *asks)
    assert [outcome.row[2] for outcome in outcomes] == names
    rows = {pk: (dataset_pk, name) for pk, dataset_pk, name, *_ in await asyncio.to_thread(ask, database_url, IMAGES)}
    assert len(rows) == 13
    assert [rows[outcome.row[0]] for outcome in outcomes] == [(outcome.row[1], outcome.row[3]) for outcome in outcomes]
    assert sum(text.startswith(LOCK) for text in sent) == 2
    await asyncio.to_thread(assert_whole, settings)


async def test_each_of_those_who_are_saved_together_is_told_its_own(database_url: str, media_root: Path) -> None:
    settings = settings_for(database_url, media_root)
    async with opened(settings) as resources:
        album, known, sent_before = resources.album, photo(seed=1), photo(seed=2)
        there = await album.save_fix(Upload(known), fix())
        once = await album.save_fix(Upload(sent_before), fix(idempotency_key="once"))
        again, rejected, copied, answered, refused, new, same, same_again = await together(
            album,
            (known, fix(user_fix_degree=90)),
            (known, fix(on_duplicate=OnDuplicate.REJECT)),
            (known, fix(on_duplicate=OnDuplicate.ALLOW)),
            (sent_before, fix(idempotency_key="once")),
            (photo(seed=3), fix(idempotency_key="once")),
            (photo(seed=4), fix(idempotency_key="another")),
            (photo(seed=5), fix()),
            (photo(seed=5), fix()),
        )
    assert (again.row[0], again.created) == (there.row[0], False)
    assert isinstance(rejected, Conflict)
    assert (copied.row[0] not in (there.row[0], once.row[0]), copied.created) == (True, True)
    assert (answered.row[0], answered.created) == (once.row[0], False)
    assert isinstance(refused, Conflict)
    assert new.created
    assert same.row[0] == same_again.row[0]
    assert sorted((same.created, same_again.created)) == [False, True]
    assert len(await asyncio.to_thread(ask, database_url, IMAGES)) == 6
    await asyncio.to_thread(assert_whole, settings)


async def test_one_that_cannot_be_saved_does_not_take_others_along(database_url: str, media_root: Path) -> None:
    settings = settings_for(database_url, media_root)
    async with opened(settings) as resources:
        good, bad, also_good = await together(
            resources.album,
            (photo(seed=1), fix()),
            (photo(seed=2), fix(model_degree=2**70)),
            (photo(seed=3), fix()),
        )
    assert isinstance(bad, Exception)
    assert isinstance(good, Saved)
    assert isinstance(also_good, Saved)
    await asyncio.to_thread(assert_whole, settings)


async def test_one_whose_file_has_vanished_does_not_take_others_along(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root)
    save_row = Save.row

    def vanishing(self: Save, *args: Any) -> Any:
        if self.fix.original_file_name == "vanished.jpg":
            self.staged.path.unlink(missing_ok=True)
        return save_row(self, *args)

    monkeypatch.setattr(Save, "row", vanishing)
    async with opened(settings) as resources:
        names = ("1.jpg", "vanished.jpg", "3.jpg")
        asks = [(photo(seed=number), fix(original_file_name=name)) for number, name in enumerate(names)]
        outcomes = await together(resources.album, *asks)
    assert [type(outcome) for outcome in outcomes] == [Saved, StorageUnavailable, Saved]
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.parametrize("engine", ["mysql"])
async def test_saves_that_wait_while_the_dataset_is_sealed_are_saved_together_into_the_next_one(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root)
    async with opened(settings) as resources, resources.album.database.engine.session() as rival:

        async def seal() -> None:
            await asyncio.sleep(0.2)
            await rival.fetch("UPDATE dataset_info SET untrained = NULL, title = 'Lunch' WHERE untrained = 1")
            await rival.fetch("INSERT INTO dataset_info (title, untrained) VALUES ('untrained', 1)")
            await rival.commit()

        async def sealed(_: Transaction) -> None:
            await rival.begin()
            await rival.fetch(f"{LOCK} FOR UPDATE")
            sealing.append(asyncio.create_task(seal()))

        sealing = list[asyncio.Task[None]]()
        async with meanwhile(monkeypatch, sealed) as sizes:
            outcomes = await together(resources.album, *THREE)
        await sealing[0]
    ((untrained,),) = await asyncio.to_thread(ask, database_url, LOCK)
    assert [outcome.row[1] for outcome in outcomes] == [untrained] * 3
    assert set(sizes[1:]) == {3}
    await asyncio.to_thread(assert_whole, settings)


async def test_one_who_goes_away_does_not_take_others_along(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, media_root)
    insert = Transaction.insert
    gone: list[asyncio.Task[Any]] = []

    async def left(self: Transaction, sql: str, args: Any) -> int:
        if "), (" in sql:
            gone[0].cancel()
        return await insert(self, sql, args)

    monkeypatch.setattr(Transaction, "insert", left)
    async with opened(settings) as resources:
        album = resources.album
        async with held(album):
            first = asyncio.create_task(album.save_fix(Upload(photo(seed=99)), fix()))
            await await_that(lambda: come(album.groups) == 1)
            tasks = [asyncio.create_task(album.save_fix(Upload(photo(seed=seed)), fix())) for seed in (1, 2)]
            gone.append(tasks[0])
            await await_that(lambda: come(album.groups) == 3)
        outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Saved, asyncio.CancelledError, Saved]
    await asyncio.to_thread(assert_whole, settings)
