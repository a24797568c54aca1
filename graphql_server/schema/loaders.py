"""Joins what the objects of one level ask for into one statement."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from graphql_server import datasets, images
from graphql_server.database import Database
from graphql_server.engines import Row
from graphql_server.pages import Listing, Slice, Span, Table, counts, rows_of, slices

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Loaders:
    """The loaders of one request; what they have loaded is forgotten with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.slices = DataLoader[tuple[Listing, Span], Slice](self._slices)
        self.counts = DataLoader[tuple[Listing, int | None], int](self._counts)
        self.datasets = DataLoader[int, Row | None](self._rows(datasets.TABLE))
        self.images = DataLoader[int, Row | None](self._rows(images.TABLE))

    async def _slices(self, keys: list[tuple[Listing, Span]]) -> list[Slice]:
        return await _by_listing(keys, lambda listing, spans: slices(self._database, listing, spans))

    async def _counts(self, keys: list[tuple[Listing, int | None]]) -> list[int]:
        return await _by_listing(keys, lambda listing, parents: counts(self._database, listing, parents))

    def _rows(self, table: Table) -> Callable[[list[int]], Awaitable[Sequence[Row | None]]]:
        async def load(pks: list[int]) -> list[Row | None]:
            found = await rows_of(self._database, table, pks)
            return [found.get(pk) for pk in pks]

        return load

    def forget(self) -> None:
        """Forget what was loaded: a mutation has changed it."""
        loaders: tuple[DataLoader[Any, Any], ...] = (self.slices, self.counts, self.datasets, self.images)
        for loader in loaders:
            loader.clear_all()


async def _by_listing(keys: list[tuple[Listing, K]], load: Callable[[Listing, list[K]], Awaitable[list[V]]]) -> list[V]:
    groups: dict[Listing, list[K]] = {}
    for listing, key in keys:
        groups.setdefault(listing, []).append(key)
    found = {
        (listing, key): value
        for listing, group in groups.items()
        for key, value in zip(group, await load(listing, group), strict=True)
    }
    return [found[key] for key in keys]
