"""The statement that reads pages of a list by keyset, from an index at the place where the last one ended.

A page begins after a position, which is the value that the list is ordered by and the key of a row. In SQL
"after (value, key)" is an OR over two columns, which no index serves; so a page is read as *arms*, one limited
SELECT each: the rest of the rows with the same value, the rows with further values, the rows without a value.
All arms of all pages of one level (the images of 50 datasets, say) are one statement, joined by UNION ALL.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from graphql_server.listings import Condition, Listing, Order, Position, Table, Wanted

# SQLite takes 500 SELECTs in one UNION ALL, and any number of such unions.
UNION = 400
# Texts that are remembered; their arguments are not in them.
REMEMBERED = 256
LONGEST_REMEMBERED = 100  # arms


def union(selects: Sequence[str], engine: str) -> str:
    if len(selects) == 1:
        return selects[0]
    wrap = "SELECT * FROM ({})" if engine == "sqlite" else "({})"
    parts = [wrap.format(select) for select in selects]
    if engine == "sqlite" and len(parts) > UNION:
        parts = [wrap.format(" UNION ALL ".join(parts[at : at + UNION])) for at in range(0, len(parts), UNION)]
    return " UNION ALL ".join(parts)


def _text(arms: Sequence[tuple[str, ...]], engine: str) -> str:
    numbered = enumerate(arms)
    return union([arm.replace(NUMBER, f", {number} AS span") for number, each in numbered for arm in each], engine)


_remembered = lru_cache(REMEMBERED)(_text)

NUMBER = "{number}"  # where the number of its page stands in an arm
# What an argument of a page's statement is; after them come the arguments of the listing's conditions.
LIMIT, PARENT, AFTER, BEFORE, CONDITIONS = 0, 1, 2, 4, 6


def statement(listing: Listing, wanted: Sequence[Wanted], read: tuple[str, ...], engine: str) -> tuple[str, list[Any]]:
    """The arms of all pages in one text, and their arguments. Of several pages, each row ends with its own's number."""
    table, order, narrowed = listing
    conditions = tuple((each.sql, len(each.args), each.pins) for each in narrowed) if narrowed else ()
    given = [arg for condition in narrowed for arg in condition.args] if narrowed else ()
    arms: list[tuple[str, ...]] = []
    args: list[Any] = []
    texts, alone, values, most, place = (), "", (), 0, None
    picked: Callable[[Sequence[Any]], tuple[Any, ...]] = tuple
    for span, parent in wanted:
        if span is not place:
            limit, after, before, backward = place = span
            shape = (parent is not None, after and _kind(after), before and _kind(before), backward)
            texts, alone, picked = _arms_of(table, order, conditions, read, engine, shape)
            most, values = limit + 1, (*(after or NOWHERE), *(before or NOWHERE), *given)
        arms.append(texts)
        args += picked((most, parent, *values))
    if len(arms) == 1:
        return alone, args
    return (_remembered if sum(map(len, arms)) <= LONGEST_REMEMBERED else _text)(tuple(arms), engine), args


NOWHERE = (None, None)


def _kind(position: Position) -> str:
    """What a statement depends on of a position; the rest are arguments."""
    return "key" if position.value is None else "value"


@lru_cache(REMEMBERED)
def _arms_of(
    table: Table,
    order: Order,
    conditions: tuple[tuple[str, int, str | None], ...],
    read: tuple[str, ...],
    engine: str,
    shape: tuple[bool, str | None, str | None, bool],
) -> tuple[tuple[str, ...], str, Callable[[Sequence[Any]], tuple[Any, ...]]]:
    """The arms of a page, each `columns FROM … LIMIT one more than wanted`, and what picks their arguments.

    In between, the text of a page that is read by itself.
    """
    nested, after, before, backward = shape
    order = order.reversed if backward else order
    start, end = _place(after, AFTER), _place(before, BEFORE)
    start, end = (end, start) if backward else (start, end)
    column = order.column or _pinned(table, conditions, nested=nested)
    hint = f" FORCE INDEX ({table.indexes[nested, column]})" if engine == "mysql" else ""
    parent = (Condition(f"{table.parent} = ?", (PARENT,)),) if nested else ()
    bound = (_precedes(order, end),) if end else ()
    selects = list[Condition]()
    for arm in _arms(order, start):
        kept = (*parent, *arm, *bound, *_numbered(conditions))
        found, sort = where(kept), _sort(order, kept, table.parent if nested else None, column)
        sql = f"SELECT {', '.join(read)}{NUMBER} FROM {table.name}{hint}{found.sql} ORDER BY {sort} LIMIT ?"
        selects.append(Condition(sql, (*found.args, LIMIT)))
    places = [arg for select in selects for arg in select.args]
    picked = itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))
    texts = tuple(select.sql for select in selects)
    return texts, union([text.replace(NUMBER, "") for text in texts], engine), picked


def _place(kind: str | None, at: int) -> Position | None:
    """A position that has the places of its arguments for values."""
    return None if kind is None else Position(None if kind == "key" else at, at + 1)


def _numbered(conditions: tuple[tuple[str, int, str | None], ...]) -> Iterator[Condition]:
    at = CONDITIONS
    for sql, count, column in conditions:
        yield Condition(sql, tuple(range(at, at + count)), column)
        at += count


def _pinned(table: Table, conditions: tuple[tuple[str, int, str | None], ...], *, nested: bool) -> str | None:
    """The column by whose index the rows that meet the conditions are found without looking at others."""
    return next((column for _, _, column in conditions if column and (nested, column) in table.indexes), None)


def _arms(order: Order, start: Position | None) -> list[tuple[Condition, ...]]:
    """What is after a position, as conditions that an index serves, in the order of their rows."""
    if start is None:
        return [()]
    column, sign = order.column, "<" if order.descending else ">"
    key = Condition(f"pk {sign} ?", (start.pk,))
    if column is None:
        return [(key,)]
    nothing = Condition(f"{column} IS NULL", pins=column)
    if start.value is None:
        return [(nothing, key)] if order.descending else [(nothing, key), (Condition(f"{column} IS NOT NULL"),)]
    arms = [
        (Condition(f"{column} = ?", (start.value,), pins=column), key),
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
    pinned = {condition.pins for condition in conditions}
    direction = " DESC" if order.descending else ""
    return ", ".join(f"{column}{direction}" for column in (parent, indexed, "pk") if column and column not in pinned)


def where(conditions: Sequence[Condition]) -> Condition:
    if not conditions:
        return Condition("")
    sql = " WHERE " + " AND ".join(condition.sql for condition in conditions)
    return Condition(sql, tuple(arg for condition in conditions for arg in condition.args))


def inserting(table: str, columns: Sequence[str], rows: int) -> str:
    """The statement that inserts so many rows at once."""
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}"
