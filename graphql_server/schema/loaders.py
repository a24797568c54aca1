"""Joins what the objects of one level ask for into one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

from graphql_server import datasets, images
from graphql_server.database import Database
from graphql_server.engines import Row
from graphql_server.errors import Unavailable
from graphql_server.pages import Listing, Slice, Span, Table, counts, rows_of, slices
from graphql_server.schema.pacing import Pace

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# Each of those who wait for the same read computes at once when it is woken; others may then have to wait.
WOKEN = 250


class Loader(Generic[K, V]):
    """Reads at once what is asked for until everything that could ask has done so, and each key once.

    Strawberry's DataLoader begins to read in the next round of the event loop, when a long list is not yet done.
    """

    def __init__(self, read: Callable[[list[K]], Awaitable[Mapping[K, V]]], pace: Pace) -> None:
        self._read = read
        self._pace = pace
        self._found: dict[K, V] = {}
        self._missing: dict[K, None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._reading: asyncio.Task[None] | None = None

    async def load(self, key: K) -> V:
        return (await self.load_many([key]))[0]

    async def load_many(self, keys: Collection[K]) -> list[V]:
        missing = [key for key in keys if key not in self._found]
        if missing and self._pace.branches == 1:
            self._found.update(await self._read(list(dict.fromkeys(missing))))
        elif missing:
            if not self._waiting:
                self._reading = asyncio.create_task(self._read_missing())
            self._missing.update(dict.fromkeys(missing))
            self._waiting.append(future := asyncio.get_running_loop().create_future())
            await future
        return [self._found[key] for key in keys]

    def forget(self) -> None:
        self._found.clear()

    async def _read_missing(self) -> None:
        await self._pace.settled()
        keys, self._missing = list(self._missing), {}
        waiting, self._waiting = self._waiting, []
        try:
            self._found.update(await self._read(keys))
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        await self._wake(waiting)

    async def _wake(self, waiting: list[asyncio.Future[None]]) -> None:
        with self._pace.waiting() if len(waiting) > WOKEN else nullcontext():
            for number, future in enumerate(waiting, start=1):
                if not future.done():
                    future.set_result(None)
                if number % WOKEN == 0:
                    await asyncio.sleep(0)


class Loaders:
    """The loaders of one request; what they have loaded is forgotten with it.

    `columns` says which columns are read of each table; with a `failure`, nothing is read, and that is raised.
    """

    def __init__(
        self,
        database: Database,
        pace: Pace,
        columns: Mapping[Table, tuple[str, ...]],
        failure: Unavailable | None,
    ) -> None:
        self._available = database
        self._failure = failure
        self._columns = columns
        self.slices = Loader[tuple[Listing, Span], Slice](self._slices, pace)
        self.counts = Loader[tuple[Listing, int | None], int](self._counts, pace)
        self.datasets = Loader[int, Row | None](self._rows(datasets.TABLE), pace)
        self.images = Loader[int, Row | None](self._rows(images.TABLE), pace)

    @property
    def _database(self) -> Database:
        if self._failure:
            raise self._failure
        return self._available

    async def untrained(self) -> Row:
        return await datasets.untrained(self._database, self._columns[datasets.TABLE])

    async def _slices(self, keys: list[tuple[Listing, Span]]) -> Mapping[tuple[Listing, Span], Slice]:
        return await _by_listing(
            keys,
            lambda listing, spans: slices(self._database, listing, spans, self._columns[listing.table]),
        )

    async def _counts(self, keys: list[tuple[Listing, int | None]]) -> Mapping[tuple[Listing, int | None], int]:
        return await _by_listing(keys, lambda listing, parents: counts(self._database, listing, parents))

    def _rows(self, table: Table) -> Callable[[list[int]], Awaitable[Mapping[int, Row | None]]]:
        async def read(pks: list[int]) -> Mapping[int, Row | None]:
            return {**dict.fromkeys(pks), **await rows_of(self._database, table, pks, self._columns[table])}

        return read

    def forget(self) -> None:
        """Forget what was loaded: a mutation has changed it."""
        loaders: tuple[Loader[Any, Any], ...] = (self.slices, self.counts, self.datasets, self.images)
        for loader in loaders:
            loader.forget()


async def _by_listing(
    keys: list[tuple[Listing, K]], read: Callable[[Listing, list[K]], Awaitable[Sequence[V]]]
) -> Mapping[tuple[Listing, K], V]:
    groups: dict[Listing, list[K]] = {}
    for listing, key in keys:
        groups.setdefault(listing, []).append(key)
    return {
        (listing, key): value
        for listing, group in groups.items()
        for key, value in zip(group, await read(listing, group), strict=True)
    }
