"""What a page of a list is asked for by: a table, an order, conditions, and where in the order it begins and ends."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql_server.database import Database

# No column holds a longer text, and a text that is looked for is sent to the database once for each page.
LONGEST_TEXT = 255


class Condition(NamedTuple):
    """A piece of SQL for WHERE; every `?` has its argument. `pins` names a column of which it leaves one value."""

    sql: str
    args: tuple[Any, ...] = ()
    pins: str | None = None


NONE = Condition("1 = 0")


def among(column: str, values: Sequence[Any]) -> Condition:
    """A condition for a column that has one of some values; of none, it is never met."""
    return Condition(f"{column} IN ({', '.join('?' * len(values))})", tuple(values)) if values else NONE


def matching(column: str, equals: str | None, contains: str | None) -> Iterator[Condition]:
    """Conditions for a column of texts; None asks for nothing, and a predecessor's NULL is an empty text."""
    if equals is not None:
        yield _equal(column, equals)
    if contains:  # The empty text is in every text.
        yield _containing(column, contains)


def _equal(column: str, text: str) -> Condition:
    """A condition for a column that is a text to the letter."""
    if len(text) > LONGEST_TEXT:
        return NONE
    # MySQL's = takes no notice of spaces at the end, and SQLite's LENGTH of what follows a NUL.
    same = f"{column} = ? AND LENGTH({column}) = LENGTH(?)"
    return Condition(same, (text, text), pins=column) if text else Condition(f"({column} IS NULL OR {same})", ("", ""))


def _containing(column: str, part: str) -> Condition:
    """A condition for a column that contains a text, whatever its case."""
    if len(part) > LONGEST_TEXT:
        return NONE
    # SQLite's LIKE ends at a NUL.
    return Condition(f"INSTR(LOWER({column}), LOWER(?)) > 0", (part,))


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table, the columns that are read of it (the key first), and the index that each order needs.

    `parent` is the column that nested lists are cut by; an index is named by (has a parent, ordered by). An index on
    a column that a condition pins gives the order by key as well, and no row that does not meet the condition.
    `tally` knows without counting how many rows each of some parents has, and for None how many there are.
    """

    name: str
    columns: tuple[str, ...]
    parent: str | None
    indexes: Mapping[tuple[bool, str | None], str]
    tally: "Callable[[Database, Sequence[int | None]], Awaitable[list[int]]] | None" = None


class Order(NamedTuple):
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
        return self._replace(descending=not self.descending)


class Position(NamedTuple):
    """The place of a row in an order."""

    value: Any
    pk: int


class Listing(NamedTuple):
    """Which rows of a table, in which order."""

    table: Table
    order: Order
    conditions: tuple[Condition, ...] = ()


class Span(NamedTuple):
    """One page: at most `limit` rows between two positions, counted from the end if `backward`."""

    limit: int
    after: Position | None = None
    before: Position | None = None
    backward: bool = False


# A page of one parent's rows; for None, of all.
Wanted = tuple[Span, int | None]
