"""Pages of a list by keyset: each page is read from an index at the place where the last one ended.

A page begins behind a position, which is the value that the list is ordered by and the key of a row. In SQL
"behind (value, key)" is an OR over two columns, which no index serves; so a page is read as *arms*, one limited
SELECT each: the rest of the rows with the same value, the rows with further values, the rows without a value.
All arms of all pages of one level (the images of 50 datasets, say) are one statement, joined by UNION ALL.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from graphql_server.database import Database
from graphql_server.engines import Row

# SQLite takes 500 SELECTs in one UNION ALL, and any number of such unions.
UNION = 400
# Statements' texts that are remembered; their arguments are not in them.
REMEMBERED = 256
LONGEST_REMEMBERED = 100  # arms
# No column that is looked through holds a longer text; one that is looked for goes to the database for each page.
LONGEST_TEXT = 255


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL for WHERE; every `?` has its argument. `fixes` is a column that it leaves one value."""

    sql: str
    args: tuple[Any, ...] = ()
    fixes: str | None = None


NONE = Condition("1 = 0")


def among(column: str, values: Sequence[Any]) -> Condition:
    """A condition for a column that has one of some values; of none, it is never met."""
    return Condition(f"{column} IN ({', '.join('?' * len(values))})", tuple(values)) if values else NONE


def equal(column: str, text: str) -> Condition:
    """A condition for a column that is a text to the letter."""
    if len(text) > LONGEST_TEXT:
        return NONE
    # MySQL's = takes no notice of spaces at the end.
    return Condition(f"{column} = ? AND LENGTH({column}) = LENGTH(?)", (text, text), fixes=column)


def containing(column: str, part: str) -> Condition:
    """A condition for a column that contains a text, whatever its case."""
    if len(part) > LONGEST_TEXT:
        return NONE
    # SQLite's LIKE ends at a NUL.
    return Condition(f"INSTR(LOWER({column}), LOWER(?)) > 0", (part,))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table, the columns that are read of it (the key first), and the index that each order needs.

    `parent` is the column that nested lists are cut by; an index is named by (has a parent, ordered by). An index on
    a column that a condition fixes gives the order by key as well, and no row that does not meet the condition.
    `tally` knows without counting how many rows each of some parents has, and for None how many there are.
    """

    name: str
    columns: tuple[str, ...]
    parent: str | None
    indexes: Mapping[tuple[bool, str | None], str]
    tally: "Callable[[Database, Sequence[int | None]], Awaitable[list[int]]] | None" = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a table: by a column, then by key; without a column by key alone.

    `name` stands in cursors; `kind` is the type of the column's values. NULL comes before every value, on
    both engines.
    """

    name: str
    column: str | None = None
    kind: type[str] | type[float] = str
    descending: bool = False

    @property
    def reversed(self) -> "Order":
        return replace(self, descending=not self.descending)


class Position(NamedTuple):
    """The place of a row in an order."""

    value: Any
    pk: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Which rows of a table, in which order."""

    table: Table
    order: Order
    conditions: tuple[Condition, ...] = ()


class Span(NamedTuple):
    """One page: at most `limit` rows of `parent` between two positions, counted from the end if `backward`."""

    limit: int
    parent: int | None = None
    after: Position | None = None
    before: Position | None = None
    backward: bool = False


class Slice(NamedTuple):
    """The rows of a span in the listing's order; `more`: there are others beyond the limit.

    A row has the columns that were asked for first; `ordered_by` is where the value stands that it is ordered by.
    """

    rows: Sequence[Row]
    more: bool
    ordered_by: int | None

    def position(self, row: Row) -> Position:
        return Position(None if self.ordered_by is None else row[self.ordered_by], row[0])


async def slices(database: Database, listing: Listing, spans: Sequence[Span], columns: tuple[str, ...]) -> list[Slice]:
    """Read many pages of one listing, these columns of them, by one statement."""
    order = listing.order.column
    read = columns if order is None or order in columns else (*columns, order)
    ordered_by = None if order is None else read.index(order)
    arms, args = _statement(listing, spans, read, database.engine.name)
    rows = await database.fetch(_union(arms, database.engine.name), args)
    if len(spans) == 1:
        return [_cut(rows, spans[0], ordered_by)]
    found = [list[Row]() for _ in spans]
    for row in rows:
        number: int = row[-1]
        found[number].append(row)
    return [_cut(rows, span, ordered_by) for rows, span in zip(found, spans, strict=True)]


async def counts(database: Database, listing: Listing, parents: Sequence[int | None]) -> list[int]:
    """How many rows the listing has for each parent, by one statement; for None, all rows, by another."""
    table = listing.table
    if table.tally and not listing.conditions:
        return await table.tally(database, parents)
    found: dict[int | None, int] = {}
    if None in parents:
        where = _where(listing.conditions)
        found[None] = (await database.fetch(f"SELECT COUNT(*) FROM {table.name}{where.sql}", where.args))[0][0]
    if nested := [parent for parent in parents if parent is not None]:
        where = _where((among(str(table.parent), nested), *listing.conditions))
        sql = f"SELECT {table.parent}, COUNT(*) FROM {table.name}{where.sql} GROUP BY {table.parent}"
        found.update(await database.fetch(sql, where.args))
    return [found.get(parent, 0) for parent in parents]


async def rows_of(
    database: Database, table: Table, pks: Sequence[int], columns: tuple[str, ...] | None = None
) -> dict[int, Row]:
    """The rows with these keys, by one statement; a key that has none is left out."""
    marks = ", ".join("?" * len(pks))
    read = ", ".join(columns or table.columns)
    rows = await database.fetch(f"SELECT {read} FROM {table.name} WHERE pk IN ({marks})", pks)
    return {row[0]: row for row in rows}


def _cut(rows: Sequence[Row], span: Span, ordered_by: int | None) -> Slice:
    more = len(rows) > span.limit
    kept = rows[: span.limit] if more else rows
    return Slice(kept[::-1] if span.backward else kept, more, ordered_by)


def _union(selects: tuple[str, ...], engine: str) -> str:
    if len(selects) == 1:
        return selects[0]
    return _joined(selects, engine) if len(selects) <= LONGEST_REMEMBERED else _joined.__wrapped__(selects, engine)


@lru_cache(REMEMBERED)
def _joined(selects: tuple[str, ...], engine: str) -> str:
    wrap = "SELECT * FROM ({})" if engine == "sqlite" else "({})"
    parts = [wrap.format(select) for select in selects]
    if engine == "sqlite" and len(parts) > UNION:
        parts = [wrap.format(" UNION ALL ".join(parts[at : at + UNION])) for at in range(0, len(parts), UNION)]
    return " UNION ALL ".join(parts)


# What an argument of a span's statement is; behind them come the arguments of the listing's conditions.
LIMIT, NUMBER, PARENT, AFTER, BEFORE, CONDITIONS = 0, 1, 2, 3, 5, 7


def _statement(
    listing: Listing, spans: Sequence[Span], read: tuple[str, ...], engine: str
) -> tuple[tuple[str, ...], list[Any]]:
    """The arms of all spans, and their arguments. Of several spans, each row ends with the number of its own."""
    conditions = tuple((each.sql, len(each.args), each.fixes) for each in listing.conditions)
    given = [arg for condition in listing.conditions for arg in condition.args]
    selects: list[str] = []
    args: list[Any] = []
    several = len(spans) > 1
    for number, (limit, parent, after, before, backward) in enumerate(spans):
        shape = (parent is not None, _kind(after), _kind(before), backward, several)
        texts, places = _arms_of(listing.table, listing.order, conditions, read, shape, engine)
        values = (limit + 1, number, parent, *(after or NOWHERE), *(before or NOWHERE), *given)
        selects += texts
        args += [values[place] for place in places]
    return tuple(selects), args


NOWHERE = (None, None)


def _kind(position: Position | None) -> str:
    """What a statement depends on of a position; the rest are arguments."""
    if position is None:
        return "none"
    return "key" if position.value is None else "value"


@lru_cache(REMEMBERED)
def _arms_of(
    table: Table,
    order: Order,
    conditions: tuple[tuple[str, int, str | None], ...],
    read: tuple[str, ...],
    shape: tuple[bool, str, str, bool, bool],
    engine: str,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The arms of a span, each `columns FROM … LIMIT one more than wanted`, and what each of their arguments is."""
    nested, after, before, backward, several = shape
    order = order.reversed if backward else order
    start, end = _place(after, AFTER), _place(before, BEFORE)
    start, end = (end, start) if backward else (start, end)
    column = order.column or _fixed(table, conditions, nested=nested)
    hint = f" FORCE INDEX ({table.indexes[nested, column]})" if engine == "mysql" else ""
    parent = (Condition(f"{table.parent} = ?", (PARENT,)),) if nested else ()
    bound = (_precedes(order, end),) if end else ()
    columns = ", ".join((*read, "? AS span") if several else read)
    number = (NUMBER,) if several else ()
    selects = list[Condition]()
    for arm in _arms(order, start):
        kept = (*parent, *arm, *bound, *_numbered(conditions))
        where, sort = _where(kept), _sort(order, kept, table.parent if nested else None, column)
        sql = f"SELECT {columns} FROM {table.name}{hint}{where.sql} ORDER BY {sort} LIMIT ?"
        selects.append(Condition(sql, (*number, *where.args, LIMIT)))
    return tuple(select.sql for select in selects), tuple(arg for select in selects for arg in select.args)


def _place(kind: str, at: int) -> Position | None:
    """A position that has the places of its arguments for values."""
    return None if kind == "none" else Position(None if kind == "key" else at, at + 1)


def _numbered(conditions: tuple[tuple[str, int, str | None], ...]) -> Iterator[Condition]:
    at = CONDITIONS
    for sql, count, column in conditions:
        yield Condition(sql, tuple(range(at, at + count)), column)
        at += count


def _fixed(table: Table, conditions: tuple[tuple[str, int, str | None], ...], *, nested: bool) -> str | None:
    """The column by whose index the rows that meet the conditions are found without looking at others."""
    return next((column for _, _, column in conditions if column and (nested, column) in table.indexes), None)


def _arms(order: Order, start: Position | None) -> list[tuple[Condition, ...]]:
    """What is behind a position, as conditions that an index serves, in the order of their rows."""
    if start is None:
        return [()]
    column, sign = order.column, "<" if order.descending else ">"
    key = Condition(f"pk {sign} ?", (start.pk,))
    if column is None:
        return [(key,)]
    nothing = Condition(f"{column} IS NULL", fixes=column)
    if start.value is None:
        return [(nothing, key)] if order.descending else [(nothing, key), (Condition(f"{column} IS NOT NULL"),)]
    arms = [
        (Condition(f"{column} = ?", (start.value,), fixes=column), key),
        (Condition(f"{column} {sign} ?", (start.value,)),),
    ]
    return [*arms, (nothing,)] if order.descending else arms


def _precedes(order: Order, end: Position) -> Condition:
    """What is before a position; this bounds a page that has another, indexed, start."""
    column, sign = order.column, ">" if order.descending else "<"
    if column is None:
        return Condition(f"pk {sign} ?", (end.pk,))
    if end.value is None:
        same = f"{column} IS NULL AND pk {sign} ?"
        return Condition(f"({column} IS NOT NULL OR {same})" if order.descending else f"({same})", (end.pk,))
    nothing = "" if order.descending else f"{column} IS NULL OR "
    return Condition(f"({nothing}{column} {sign} ? OR ({column} = ? AND pk {sign} ?))", (end.value, end.value, end.pk))


def _sort(order: Order, conditions: Sequence[Condition], parent: str | None, indexed: str | None) -> str:
    # MySQL takes the index for the order only where the order names its columns, and MariaDB only where it leaves out
    # those of which there is one value.
    fixed = {condition.fixes for condition in conditions}
    direction = " DESC" if order.descending else ""
    return ", ".join(f"{column}{direction}" for column in (parent, indexed, "pk") if column and column not in fixed)


def _where(conditions: Sequence[Condition]) -> Condition:
    if not conditions:
        return Condition("")
    sql = " WHERE " + " AND ".join(condition.sql for condition in conditions)
    return Condition(sql, tuple(arg for condition in conditions for arg in condition.args))
