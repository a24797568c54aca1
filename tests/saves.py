"""Saves that come at the same time, and what happens to them meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from graphql_server import saves
from graphql_server.album import Album
from graphql_server.database import Transaction
from graphql_server.fixes import Fix
from graphql_server.saves import Save
from tests.photos import Upload, photo
from tests.together import come

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
