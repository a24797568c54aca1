"""Pages of a list, and what else is read of a table: counts, and rows by their keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from graphql_server.database import Database
from graphql_server.engines import Fetching, Row
from graphql_server.listings import Listing, Position, Span, Table, Wanted, among
from graphql_server.statements import statement, where


@dataclass(slots=True, eq=False)
class Slice:
    """The rows of a span in the listing's order; `more`: there are others beyond the limit.

    A row has the columns that were asked for first; `ordered_by` is where the value stands that it is ordered by.
    """

    rows: Sequence[Row]
    more: bool
    ordered_by: int | None

    def position(self, row: Row) -> Position:
        return Position(None if self.ordered_by is None else row[self.ordered_by], row[0])


NOTHING = Slice((), more=False, ordered_by=None)
# So many plain pages are one statement: for twice as many SELECTs, both engines take four times as long to make a plan.
PAGES_AT_ONCE = 1000
KEYS_AT_ONCE = 1000  # of some 6,000 MySQL makes no ranges any more, and reads the whole table
ARMS = 3  # a page's at most, which it has where a column orders it and it begins at a cursor


async def slices(
    database: Database, listing: Listing, wanted: Sequence[Wanted], columns: tuple[str, ...]
) -> list[Slice]:
    """Read many pages of one listing, these columns of them, by one statement, or by several where that is too long."""
    at_once = _at_once(listing, wanted)
    if len(wanted) > at_once:
        pieces = [wanted[at : at + at_once] for at in range(0, len(wanted), at_once)]
        return [each for piece in pieces for each in await slices(database, listing, piece, columns)]
    order = listing.order.column
    read = columns if order is None or order in columns else (*columns, order)
    ordered_by = None if order is None else read.index(order)
    rows = await database.fetch(*statement(listing, wanted, read, database.engine.name))
    if len(wanted) == 1:
        return [_cut(rows, wanted[0][0], ordered_by)]
    found: list[list[Row]] = [[] for _ in wanted]
    for number, group in groupby(rows, itemgetter(-1)):
        found[number] += group
    return [_cut(rows, span, ordered_by) for rows, (span, _) in zip(found, wanted, strict=True)]


def _at_once(listing: Listing, wanted: Sequence[Wanted]) -> int:
    placed = listing.order.column and any(span.after or span.before for span, _ in wanted)
    return PAGES_AT_ONCE // ((ARMS if placed else 1) * (1 + len(listing.conditions)))


async def counts(database: Database, listing: Listing, parents: Sequence[int | None]) -> list[int]:
    """How many rows the listing has for each parent, by one statement; for None, all rows, by another."""
    table = listing.table
    if table.tally and not listing.conditions:
        return await table.tally(database, parents)
    found: dict[int | None, int] = {}
    if None in parents:
        condition = where(listing.conditions)
        found[None] = (await database.fetch(f"SELECT COUNT(*) FROM {table.name}{condition.sql}", condition.args))[0][0]
    if nested := [parent for parent in parents if parent is not None]:
        condition = where((among(str(table.parent), nested), *listing.conditions))
        sql = f"SELECT {table.parent}, COUNT(*) FROM {table.name}{condition.sql} GROUP BY {table.parent}"
        found.update(await database.fetch(sql, condition.args))
    return [found.get(parent, 0) for parent in parents]


async def rows_of(
    database: Fetching, table: Table, pks: Sequence[int], columns: tuple[str, ...] | None = None
) -> dict[int, Row]:
    """The rows with these keys, by one statement, or by several for many; a key that has none is left out."""
    if len(pks) > KEYS_AT_ONCE:
        pieces = [pks[at : at + KEYS_AT_ONCE] for at in range(0, len(pks), KEYS_AT_ONCE)]
        return {pk: row for piece in pieces for pk, row in (await rows_of(database, table, piece, columns)).items()}
    chosen = among("pk", pks)
    read = ", ".join(columns or table.columns)
    rows = await database.fetch(f"SELECT {read} FROM {table.name} WHERE {chosen.sql}", chosen.args)
    return {row[0]: row for row in rows}


def _cut(rows: Sequence[Row], span: Span, ordered_by: int | None) -> Slice:
    more = len(rows) > span.limit
    kept = rows[: span.limit] if more else rows
    return Slice(kept[::-1] if span.backward else kept, more, ordered_by)
