"""Relay's connections over keyset pages."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
import strawberry
from strawberry.federation.schema_directives import ListSize

from graphql_server.engines import Row
from graphql_server.errors import BadUserInput
from graphql_server.pages import LONGEST_TEXT, Listing, Order, Position, Slice, Span
from graphql_server.schema.context import Info

T = TypeVar("T")
PAGE = 50
LARGEST_PAGE = 1000
LARGEST_INT = 2**31 - 1

First = Annotated[
    int | None,
    strawberry.argument(description=f"How many items from the start, at most {LARGEST_PAGE}; {PAGE} by default."),
]
After = Annotated[str | None, strawberry.argument(description="Begin behind this cursor.")]
Last = Annotated[int | None, strawberry.argument(description=f"How many items from the end, at most {LARGEST_PAGE}.")]
Before = Annotated[str | None, strawberry.argument(description="End before this cursor.")]

# What a gateway may reckon with, so that it refuses what `QUERY_COST` would refuse here.
SIZE = ListSize(
    assumed_size=PAGE,
    slicing_arguments=["first", "last"],
    sized_fields=["edges", "nodes"],
    require_one_slicing_argument=False,
)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A slice that was read, and how to make its rows into objects."""

    listing: Listing
    span: Span
    slice: Slice
    make: Callable[[Row], T]

    def cursor(self, row: Row) -> str:
        return cursor_of(self.listing, row)

    async def more(self, info: Info, *, backward: bool) -> bool:
        """Whether there are items before (backward) or behind this page."""
        if backward == self.span.backward:
            return self.slice.more
        if (self.span.before if self.span.backward else self.span.after) is None:
            return False
        # The page began at a cursor; whether anything lies on its other side is only asked when wanted.
        edge = self._edge(backward=backward)
        span = Span(
            limit=0,
            parent=self.span.parent,
            after=None if backward else edge,
            before=edge if backward else None,
            backward=backward,
        )
        return (await info.context.loaders.slices.load((self.listing, span))).more

    def _edge(self, *, backward: bool) -> Position | None:
        """The position that all items before (backward) or behind this page lie beyond."""
        if self.slice.rows:
            return self.listing.position(self.slice.rows[0 if backward else -1])
        start = self.span.after if backward else self.span.before
        if start is None:
            return None
        # An empty page has no row to begin at, and the row of its cursor lies beyond it: step over that row.
        return Position(start.value, start.pk + (1 if backward != self.listing.order.descending else -1))


@strawberry.federation.type(shareable=True, description="Where a page lies in its list.")
class PageInfo:
    page: strawberry.Private[Page[Any]]

    @strawberry.field(description="Whether items follow this page.")
    async def has_next_page(self, info: Info) -> bool:
        return await self.page.more(info, backward=False)

    @strawberry.field(description="Whether items precede this page.")
    async def has_previous_page(self, info: Info) -> bool:
        return await self.page.more(info, backward=True)

    @strawberry.field(description="The cursor of the first item; null when the page is empty.")
    def start_cursor(self) -> str | None:
        return self.page.cursor(self.page.slice.rows[0]) if self.page.slice.rows else None

    @strawberry.field(description="The cursor of the last item; null when the page is empty.")
    def end_cursor(self) -> str | None:
        return self.page.cursor(self.page.slice.rows[-1]) if self.page.slice.rows else None


@strawberry.type(description="An item of a list and its place there.")
class Edge(Generic[T]):
    node: T = strawberry.field(description="The item.")
    cursor: str = strawberry.field(description="The item's place; opaque, and still good when the item is removed.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    page: strawberry.Private[Page[T]]

    @strawberry.field(description="The items of this page with their cursors.")
    def edges(self) -> list[Edge[T]]:
        return [Edge(node=self.page.make(row), cursor=self.page.cursor(row)) for row in self.page.slice.rows]

    @strawberry.field(description="The items of this page.")
    def nodes(self) -> list[T]:
        return [self.page.make(row) for row in self.page.slice.rows]

    @strawberry.field(description="Where this page lies in its list.")
    def page_info(self) -> PageInfo:
        return PageInfo(page=self.page)

    @strawberry.field(description="How many items the whole list has.")
    async def total_count(self, info: Info) -> int:
        return await info.context.loaders.counts.load((self.page.listing, self.page.span.parent))


async def connect(info: Info, listing: Listing, span: Span, make: Callable[[Row], T]) -> Connection[T]:
    """Read a page, together with the pages that other objects of the same level ask for."""
    found = await info.context.loaders.slices.load((listing, span))
    return Connection(page=Page(listing, span, found, make))


def span_of(
    listing: Listing,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    parent: int | None = None,
) -> Span:
    """The page that Relay's four arguments mean; BadUserInput where they mean none."""
    if first is not None and last is not None:
        raise BadUserInput("Send first or last, not both.")
    for name, value in (("first", first), ("last", last)):
        if value is not None and not 0 <= value <= LARGEST_PAGE:
            raise BadUserInput(f"{name} is from 0 to {LARGEST_PAGE}, not {value}.")
    limit = first if last is None else last
    return Span(
        limit=PAGE if limit is None else limit,
        parent=parent,
        after=None if after is None else position_of(listing, after),
        before=None if before is None else position_of(listing, before),
        backward=last is not None,
    )


def cursor_of(listing: Listing, row: Row) -> str:
    """The row's place: the order's name, the value ordered by where there is one, and the key."""
    position, order = listing.position(row), listing.order
    parts = [order.name, position.pk] if order.column is None else [order.name, position.value, position.pk]
    return base64.b64encode(orjson.dumps(parts)).decode()


def position_of(listing: Listing, cursor: str) -> Position:
    """What `cursor_of` wrote; BadUserInput for anything else and for a cursor of another order."""
    order = listing.order
    try:
        parts = orjson.loads(base64.b64decode(cursor, validate=True))
        match parts:
            case [order.name, int(pk)] if order.column is None and _is_key(pk):
                return Position(None, pk)
            case [order.name, value, int(pk)] if order.column and _is_key(pk) and _is_value(order, value):
                return Position(value, pk)
            case _:
                raise BadUserInput(f"'{cursor:.100}' is no cursor of a list ordered by {order.name}.")
    except (binascii.Error, ValueError):
        raise BadUserInput(f"'{cursor:.100}' is no cursor.") from None


def _is_value(order: Order, value: object) -> bool:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return False
    return value is None or isinstance(value, order.kind)


def _is_key(pk: int) -> bool:
    return not isinstance(pk, bool) and 0 <= pk <= LARGEST_INT
