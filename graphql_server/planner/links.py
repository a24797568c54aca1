"""What a schema says of its fields, so that their values can be had without calling a resolver for each object.

A *source* is what an object of the response is made from: a row of a table, where its type has a table, or
any Python object.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import GraphQLField


class Unplanned(Exception):
    """Something cannot be planned, or not be run as planned: graphql-core has the word."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar: `read(*columns)` of a row, the column itself without `read`; `read(source)` of any other object.

    With `context`, `read` is given `info` before all else. `otherwise` stands for a column's NULL.
    """

    columns: tuple[str, ...] = ()
    read: Callable[..., Any] | None = None
    otherwise: Any = None
    context: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """An object that `read` finds in the source or in a column of its row, or a list of them.

    With `rows`, they are rows, and not objects that hold one.
    """

    read: Callable[[Any], Any]
    column: str | None = None
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Joint:
    """What must be asked for: `ask(info, sources, **arguments)` gives one value, object or list for each source.

    It is asked once for all objects of a level. With a `column`, it is given that column's values for sources.
    """

    ask: Callable[..., Awaitable[Sequence[Any]]]
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A root field: its resolver, and the permissions that are asked, `permission(None, info)`, before any resolver."""

    resolve: Callable[..., Awaitable[Any]]
    permissions: tuple[Callable[..., Any], ...]


Link = Leaf | Part | Joint | Root


def columns_of(link: Link) -> tuple[str, ...]:
    """The columns that a link reads of a row."""
    if isinstance(link, Leaf):
        return link.columns
    return () if isinstance(link, Root) or link.column is None else (link.column,)


class Sure(NamedTuple):
    """What all values of a column are sure to be: of a class, or `null` where that is possible too."""

    type: type
    null: bool


# By an argument's name: what the resolver calls it, and what makes of its value what the resolver takes.
Taken = Mapping[str, tuple[str, Callable[[Any], Any] | None]]


@dataclass(frozen=True, slots=True)
class Links:
    """What the planner knows of a schema; a field that has no link is not planned.

    `tables` are what types are read from; each has `columns`, the key first. `row` gives the row that an object holds,
    and `type_name` the name of an object's type. What is `sure` of a type's column is not looked at in queries.
    """

    fields: Mapping[tuple[str, str], Link]
    tables: Mapping[str, Any]
    row: Callable[[Any], tuple[Any, ...]]
    type_name: Callable[[Any], str]
    taken: Callable[[GraphQLField], Taken]
    sure: Mapping[tuple[str, str], Sure]
