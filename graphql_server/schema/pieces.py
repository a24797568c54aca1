"""Pages that are read piece by piece: the first rows of a streamed list are sent while others are still to be read."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from strawberry.types.nodes import SelectedField, Selection

from graphql_server.listings import Listing, Span, Wanted
from graphql_server.pages import Slice
from graphql_server.schema.context import Info
from graphql_server.schema.loaders import Source

T = TypeVar("T")
# So many rows are read by one statement, and what they ask for by one more.
PIECE = 100
ITEMS = ("edges", "nodes")
OFF = {"if": False}


class Pieces:
    """A page as far as it has been read; whoever wants more of it reads on, for all others as well."""

    def __init__(self, source: Source, listing: Listing, wanted: Wanted, first: Slice) -> None:
        self._source = source
        self._listing = listing
        self._span, self._parent = wanted
        self._read = first
        self._rows = list(first.rows)
        self._turn = asyncio.Lock()

    async def objects(self, make: Callable[..., T]) -> AsyncGenerator[T]:
        """What `make(row=…)` makes of each row, read as it is asked for."""
        at = 0
        while at < len(self._rows):
            yield make(row=self._rows[at])
            at += 1
            if at == len(self._rows) and not self._complete:
                await self._read_on(at, PIECE)

    async def whole(self) -> Slice:
        """All of the page, the rest of it read by one statement."""
        while not self._complete:
            await self._read_on(len(self._rows), self._span.limit)
        return replace(self._read, rows=self._rows)

    @property
    def _complete(self) -> bool:
        return not self._read.more or len(self._rows) >= self._span.limit

    async def _read_on(self, known: int, most: int) -> None:
        """Read the rows after those that are known, unless somebody else has done so meanwhile."""
        async with self._turn:
            if len(self._rows) > known or self._complete:
                return
            limit = min(most, self._span.limit - known)
            span = self._span._replace(limit=limit, after=self._read.position(self._rows[-1]))
            key = (self._listing, (span, self._parent))
            self._read = (await self._source.slices([key]))[key]
            self._rows += self._read.rows


def first_piece(info: Info, span: Span) -> int | None:
    """How many rows of a page to read first; None for all of them.

    Pages in lists are read whole, those of all parents together; and a page that is counted from its end is only
    known as a whole.
    """
    if span.backward or any(isinstance(key, int) for key in info.path.as_list()):
        return None
    counts = [count for field in info.selected_fields for count in _counts(field.selections)]
    return max(counts) or PIECE if counts else None


def _counts(selections: Iterable[Selection]) -> Iterator[int]:
    """How many items of each streamed list come at once."""
    for selection in selections:
        if not isinstance(selection, SelectedField):
            yield from _counts(selection.selections)
        elif selection.name in ITEMS and selection.directives.get("stream", OFF).get("if") is not False:
            yield max(int(selection.directives["stream"].get("initialCount") or 0), 0)
