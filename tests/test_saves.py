"""Saves that come at the same time, and are saved together."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphql_server import datasets, saves, tallies
from graphql_server.album import Album
from graphql_server.app import opened
from graphql_server.database import Transaction
from graphql_server.errors import Conflict, DatabaseUnavailable, StorageUnavailable
from graphql_server.fixes import Fix, OnDuplicate
from graphql_server.saves import Save, Saved
from tests.chaos.mysql import await_lock
from tests.holdings import IMAGES, ask, assert_whole
from tests.mysql import statements
from tests.photos import Upload, photo
from tests.servers import settings_for, statements_sent
from tests.together import come

pytestmark = pytest.mark.anyio
LOCK = "SELECT pk FROM dataset_info WHERE untrained = 1"
Ask = tuple[bytes, Fix]


def fix(**given: Any) -> Fix:
    usual = Fix(original_file_name="a.jpg", exif_degree=0, model_degree=0, confidence=1.0, user_fix_degree=0)
    return replace(usual, **given)


@asynccontextmanager
async def held(album: Album) -> AsyncGenerator[None]:
    """Nothing is saved while the block runs."""
    async with album.database.engine.session() as rival:
        await rival.begin()
        lock = " FOR UPDATE" if album.database.engine.name == "mysql" else ""
        await rival.fetch(LOCK + lock)
        yield
        await rival.rollback()


async def together(album: Album, *asks: Ask) -> list[Any]:
    """Save these by one transaction, each with its own photo and fix; gives what became of each."""
    async with held(album):
        tasks = [asyncio.create_task(album.save_fix(Upload(photo(seed=99)), fix()))]
        await await_that(lambda: come(album.groups) == 1)
        tasks += [asyncio.create_task(album.save_fix(Upload(content), given)) for content, given in asks]
        await await_that(lambda: come(album.groups) == 1 + len(asks))
    return (await asyncio.gather(*tasks, return_exceptions=True))[1:]


async def await_that(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - it is seen in a number
            await asyncio.sleep(0.01)


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


@asynccontextmanager
async def meanwhile(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[Transaction], Awaitable[object]]
) -> AsyncGenerator[list[int]]:
    """Have something happen at the beginning of the first transaction for several saves.

    Gives how many saves each transaction was for.
    """
    save_all: Any = saves._save_all  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    sizes: list[int] = []

    async def watched(database: Any, media: Any, group: Sequence[Save], transaction: Transaction) -> Any:
        sizes.append(len(group))
        if len(group) > 1 and sizes.count(len(group)) == 1:
            await happens(transaction)
        return await save_all(database, media, group, transaction)

    with monkeypatch.context() as patch:
        patch.setattr(saves, "_save_all", watched)
        yield sizes


THREE = [(photo(seed=number), fix()) for number in range(3)]


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
