"""Relay's connections over keyset pages."""

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import orjson
import strawberry
from strawberry.federation.schema_directives import ListSize

from graphql_server.engines import Row
from graphql_server.errors import BadUserInput
from graphql_server.listings import LONGEST_TEXT, Listing, Order, Position, Span, Wanted
from graphql_server.pages import Slice
from graphql_server.schema.context import Info
from graphql_server.schema.fields import joint, leaf, part
from graphql_server.schema.pieces import Pieces, first_piece

T = TypeVar("T")
PAGE = 50
LARGEST_PAGE = 1000
LARGEST_INT = 2**31 - 1

First = Annotated[
    int | None,
    strawberry.argument(description=f"How many items from the start, at most {LARGEST_PAGE}; {PAGE} by default."),
]
After = Annotated[str | None, strawberry.argument(description="Only items after this cursor.")]
Last = Annotated[int | None, strawberry.argument(description=f"How many items from the end, at most {LARGEST_PAGE}.")]
Before = Annotated[str | None, strawberry.argument(description="Only items before this cursor.")]

# What a gateway may reckon with, so that it refuses what `QUERY_COST` would refuse here.
SIZE = ListSize(
    assumed_size=PAGE,
    slicing_arguments=["first", "last"],
    sized_fields=["edges", "nodes"],
    require_one_slicing_argument=False,
)


@dataclass(eq=False, kw_only=True)
class Page:
    """A slice that was read, and how to make its rows into objects; with `pieces` it is only the first of them."""

    listing: strawberry.Private[Listing]
    span: strawberry.Private[Span]
    parent: strawberry.Private[int | None]
    slice: strawberry.Private[Slice]
    make: strawberry.Private[Callable[..., Any]]
    pieces: strawberry.Private[Pieces | None] = None

    async def whole(self) -> "Page":
        """The page with all of its pieces."""
        return replace(self, slice=await self.pieces.whole(), pieces=None) if self.pieces else self

    def cursor(self, row: Row) -> str:
        return cursor_of(self.listing.order, self.slice.position(row))

    def cursor_at(self, at: int) -> str | None:
        """The cursor of the first or the last item."""
        return self.cursor(self.slice.rows[at]) if self.slice.rows else None

    def beyond(self, *, backward: bool) -> Span | bool:
        """Whether there are items before (backward) or after this page, or the page that tells."""
        if backward == self.span.backward:
            return self.slice.more
        start = self.span.before if self.span.backward else self.span.after
        if start is None:
            return False
        # The page began at a cursor; whether anything lies on its other side is only asked when wanted.
        edge = self._edge(start, backward=backward)
        return Span(0, None if backward else edge, edge if backward else None, backward)

    def _edge(self, start: Position, *, backward: bool) -> Position:
        """The position that all items before (backward) or after this page lie beyond."""
        if self.slice.rows:
            return self.slice.position(self.slice.rows[0 if backward else -1])
        # An empty page has no row to begin at, and the row of its cursor lies beyond it: step over that row.
        return Position(start.value, start.pk + (1 if backward != self.listing.order.descending else -1))


async def follow(info: Info, infos: "Sequence[PageInfo]") -> list[bool]:
    return await _more(info, [each.page for each in infos], backward=False)


async def precede(info: Info, infos: "Sequence[PageInfo]") -> list[bool]:
    return await _more(info, [each.page for each in infos], backward=True)


async def _more(info: Info, pages: Sequence[Page], *, backward: bool) -> list[bool]:
    found = [page.beyond(backward=backward) for page in pages]
    asked = [
        (page.listing, (span, page.parent)) for page, span in zip(pages, found, strict=True) if isinstance(span, Span)
    ]
    slices = iter(await info.context.loaders.slices.load_many(asked) if asked else ())
    return [next(slices).more if isinstance(answer, Span) else answer for answer in found]


async def total_counts(info: Info, connections: "Sequence[Connection[Any]]") -> list[int]:
    keys = [(connection.listing, connection.parent) for connection in connections]
    return await info.context.loaders.counts.load_many(keys)


@strawberry.federation.type(shareable=True, description="Where a page lies in its list.")
class PageInfo:
    page: strawberry.Private[Page]

    has_next_page: bool = joint(follow, None, "Whether items follow this page.")
    has_previous_page: bool = joint(precede, None, "Whether items precede this page.")
    start_cursor: str | None = leaf(
        lambda info: info.page.cursor_at(0), "The cursor of the first item; null when the page is empty."
    )
    end_cursor: str | None = leaf(
        lambda info: info.page.cursor_at(-1), "The cursor of the last item; null when the page is empty."
    )


@strawberry.type(description="An item of a list and its place there.")
class Edge(Generic[T]):
    page: strawberry.Private[Page]
    row: strawberry.Private[Row]

    node: T = part(lambda edge: edge.row, "The item.", make=lambda edge: edge.page.make(row=edge.row))
    cursor: str = leaf(
        lambda edge: edge.page.cursor(edge.row),
        "The item's place; opaque, and still good when the item is removed.",
    )


@strawberry.type(description="A page of a list.")
class Connection(Page, Generic[T]):
    edges: list[Edge[T]] = part(
        lambda connection: [Edge(page=connection, row=row) for row in connection.slice.rows],
        "The items of this page with their cursors.",
        coming=lambda connection: connection.coming(partial(Edge, page=connection)),
    )
    nodes: list[T] = part(
        attrgetter("slice.rows"),
        "The items of this page.",
        make=lambda connection: [connection.make(row=row) for row in connection.slice.rows],
        coming=lambda connection: connection.coming(connection.make),
    )
    page_info: PageInfo = part(
        lambda connection: PageInfo(page=connection),
        "Where this page lies in its list.",
        coming=lambda connection: connection.end() if connection.pieces else None,
    )
    total_count: int = joint(total_counts, None, "How many items the whole list has.")

    def coming(self, make: Callable[..., Any]) -> AsyncGenerator[Any] | None:
        """What is made of the rows as they come, where they come piece by piece."""
        return self.pieces.objects(make) if self.pieces else None

    async def end(self) -> PageInfo:
        """Where the page lies, once all of it is read."""
        return PageInfo(page=await self.whole())


async def connect(
    info: Info, listing: Listing, wanted: Sequence[Wanted], make: Callable[..., T]
) -> list[Connection[T]]:
    """Read pages, together with those that others of the same level ask for, or the first piece of a streamed one."""
    if info.context.in_parts and len(wanted) == 1 and (first := first_piece(info, wanted[0][0])):
        return [await begin(info, listing, wanted[0], make, first)]
    loaders = info.context.loaders
    found = await loaders.pages(listing, wanted)
    if loaders.presumed:
        loaders.prove(wanted, found)
    return [
        Connection(listing=listing, span=span, parent=parent, slice=slice, make=make)
        for (span, parent), slice in zip(wanted, found, strict=True)
    ]


async def begin(info: Info, listing: Listing, wanted: Wanted, make: Callable[..., T], first: int) -> Connection[T]:
    """Read the first rows of a page."""
    span, parent = wanted
    (slice,) = await info.context.loaders.pages(listing, [(span._replace(limit=min(first, span.limit)), parent)])
    pieces = Pieces(info.context.loaders.source, listing, wanted, slice)
    return Connection(listing=listing, span=span, parent=parent, slice=slice, make=make, pieces=pieces)


def span_of(
    listing: Listing,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> Span:
    """The page that Relay's four arguments mean; BadUserInput where they mean none."""
    if first is not None and last is not None:
        raise BadUserInput("Send first or last, not both.")
    limit, name = (first, "first") if last is None else (last, "last")
    if limit is None:
        limit = PAGE
    elif not 0 <= limit <= LARGEST_PAGE:
        raise BadUserInput(f"{name} is from 0 to {LARGEST_PAGE}, not {limit}.")
    start = None if after is None else position_of(listing, after)
    end = None if before is None else position_of(listing, before)
    return Span(limit, start, end, last is not None)


def cursor_of(order: Order, position: Position) -> str:
    """A row's place: the order's name, the value ordered by where there is one, and the key."""
    parts = [order.name, position.pk] if order.column is None else [order.name, position.value, position.pk]
    return base64.b64encode(orjson.dumps(parts)).decode()


def position_of(listing: Listing, cursor: str) -> Position:
    """What `cursor_of` wrote; BadUserInput for anything else and for a cursor of another order."""
    order = listing.order
    match parts_of(cursor):
        case [order.name, int(pk)] if order.column is None and is_key(pk):
            return Position(None, pk)
        case [order.name, value, int(pk)] if order.column and is_key(pk) and _is_value(order, value):
            return Position(value, pk)
        case _:
            raise BadUserInput(f"'{cursor:.100}' is no cursor of a list ordered by {order.name}.")


def parts_of(cursor: str) -> Any:
    """What a cursor consists of, whichever list's it is; BadUserInput where it is none."""
    try:
        return orjson.loads(binascii.a2b_base64(cursor, strict_mode=True))
    except (binascii.Error, ValueError):
        raise BadUserInput(f"'{cursor:.100}' is no cursor.") from None


def _is_value(order: Order, value: object) -> bool:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return False
    return value is None or isinstance(value, order.kind)


def is_key(pk: int) -> bool:
    """Tell whether a number of a cursor can be a row's key."""
    return not isinstance(pk, bool) and 0 <= pk <= LARGEST_INT
