"""Joins what the objects of one level ask for into one statement."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Generic, TypeVar

from graphql_server import datasets, images
from graphql_server.database import Database
from graphql_server.engines import Row
from graphql_server.errors import OperationTimedOut, Unavailable
from graphql_server.listings import Listing, Table, Wanted
from graphql_server.pages import Slice, counts, rows_of, slices
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

    async def load_many(self, keys: Collection[K]) -> list[V]:
        missing = [key for key in keys if key not in self._found]
        if missing and self._pace.branches == 1:
            self._found.update(await self._read(list(dict.fromkeys(missing))))
        elif missing:
            if not self._waiting:
                self._reading = asyncio.create_task(self._read_missing())
            self._missing.update(dict.fromkeys(missing))
            await self._read_with_others()
        return [self._found[key] for key in keys]

    def know(self, key: K, value: V) -> None:
        """Take what somebody else has read."""
        self._found[key] = value

    async def _read_with_others(self) -> None:
        waiting, reading = self._waiting, self._reading
        waiting.append(future := asyncio.get_running_loop().create_future())
        try:
            await future
        except asyncio.CancelledError:
            if reading and not reading.cancelling() and all(each.cancelled() for each in waiting):
                if waiting is self._waiting:  # Whoever comes now begins anew.
                    self._waiting, self._missing = [], {}
                reading.cancel()
            raise

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


@dataclass(slots=True, eq=False)
class Source:
    """What loaders read from: these columns of each table. After a `failure` nothing is read, and that is raised.

    Nor is anything read after `until` of time.monotonic().
    """

    available: Database
    columns: Mapping[Table, tuple[str, ...]]
    failure: Unavailable | None
    until: float | None

    @property
    def database(self) -> Database:
        if self.failure:
            raise self.failure
        if self.until is not None and time.monotonic() > self.until:
            raise OperationTimedOut("There was no time left to read this (OPERATION_SECONDS).")
        return self.available

    async def slices(self, keys: list[tuple[Listing, Wanted]]) -> Mapping[tuple[Listing, Wanted], Slice]:
        return await _by_listing(
            keys, lambda listing, wanted: slices(self.database, listing, wanted, self.columns[listing.table])
        )

    async def counts(self, keys: list[tuple[Listing, int | None]]) -> Mapping[tuple[Listing, int | None], int]:
        return await _by_listing(keys, lambda listing, parents: counts(self.database, listing, parents))

    async def rows(self, table: Table, pks: list[int]) -> Mapping[int, Row | None]:
        return {**dict.fromkeys(pks), **await rows_of(self.database, table, pks, self.columns[table])}

    async def untrained(self) -> Row:
        return await datasets.untrained(self.database, self.columns[datasets.TABLE])


class Loaders:
    """The loaders of one request; what they have loaded is forgotten with them.

    They and their source do not refer to each other: what refers to itself is freed late, and a page is large.
    """

    def __init__(self, source: Source, pace: Pace, *, presume: bool) -> None:
        self.source = source
        self._pace = pace
        self._presume = presume and len(source.columns[datasets.TABLE]) == 1
        self.presumed: set[int] = set()

    @cached_property
    def slices(self) -> Loader[tuple[Listing, Wanted], Slice]:
        return Loader(self.source.slices, self._pace)

    @cached_property
    def counts(self) -> Loader[tuple[Listing, int | None], int]:
        return Loader(self.source.counts, self._pace)

    @cached_property
    def datasets(self) -> Loader[int, Row | None]:
        return Loader(partial(self.source.rows, datasets.TABLE), self._pace)

    @cached_property
    def images(self) -> Loader[int, Row | None]:
        return Loader(partial(self.source.rows, images.TABLE), self._pace)

    def presume(self, pk: int) -> Row | None:
        """The row of a dataset of which nothing is wanted but its key, as if it were there: its images may prove it."""
        if not self._presume:
            return None
        self.presumed.add(pk)
        return (pk,)

    def pages(self, listing: Listing, wanted: Sequence[Wanted]) -> Awaitable[list[Slice]]:
        """Pages of one listing, none of them twice."""
        if self._pace.branches == 1:
            # Nobody can ask for the same.
            return slices(self.source.database, listing, wanted, self.source.columns[listing.table])
        return self.slices.load_many([(listing, each) for each in wanted])

    def prove(self, wanted: Sequence[Wanted], pages: Sequence[Slice]) -> None:
        """Take pages of images for a proof: an image has a dataset, the database holds it to that."""
        self.presumed -= {parent for (_, parent), slice in zip(wanted, pages, strict=True) if slice.rows}

    async def proved(self) -> bool:
        """Whether all datasets are there that were presumed to be."""
        return None not in await self.datasets.load_many(self.presumed)


async def _by_listing(
    keys: list[tuple[Listing, K]], read: Callable[[Listing, list[K]], Awaitable[Sequence[V]]]
) -> Mapping[tuple[Listing, K], V]:
    if len(keys) == 1:
        ((listing, key),) = keys
        return {keys[0]: (await read(listing, [key]))[0]}
    groups: dict[Listing, list[K]] = {}
    for listing, key in keys:
        groups.setdefault(listing, []).append(key)
    return {
        (listing, key): value
        for listing, group in groups.items()
        for key, value in zip(group, await read(listing, group), strict=True)
    }
