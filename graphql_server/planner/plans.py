"""Plans: an operation as a tree of objects and steps between them, and how it is run, level by level."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Protocol, cast

from graphql import GraphQLList
from graphql.execution.values import VariableValues

from graphql_server.planner.code import Build, Selection, Writer
from graphql_server.planner.links import Joint, Part, Root, Unplanned, columns_of
from graphql_server.planner.values import Arguments, Variables, serialized, unwrapped

# So many objects are made at one go, or of those that hold lists; where that made few values, then twice as many.
AT_ONCE, LISTS_AT_ONCE, FEW = 250, 4, 2000
Values = list[Any]
Columns = Mapping[str, Sequence[str]]  # of each type's rows


class Host(Protocol):
    """Who runs a plan; resolvers have it for `info`."""

    values: int  # that were written since the last turn

    async def turn(self) -> None:
        """Wait until so many values may have been written without keeping others waiting."""

    async def together(self, branches: Sequence[Awaitable[Values]]) -> list[Values]:
        """Run branches that may ask for the same at the same time."""
        ...


class Scalars:
    """Values that were asked for and are written as they are."""

    asks = False

    def __init__(self, type_: Any) -> None:
        self._write = serialized(type_)

    def write(self, columns: Columns) -> None: ...

    async def build(self, host: Host, variables: VariableValues, values: Values) -> Values:  # noqa: ARG002 - as all children
        return [self._write(value) for value in values]


class Step:
    """A field that has objects or must be asked for: one value for each source."""

    def __init__(self, link: Part | Joint | Root, arguments: Arguments | None, type_: Any, child: "Child") -> None:
        self._link = link
        self._arguments = arguments
        self._shape = _Shape(type_, rows=isinstance(link, Part) and link.rows)
        self._child = child
        self.asks = child.asks or not isinstance(link, Part)
        self._place: int | None = None

    def write(self, row: Sequence[str], columns: Columns) -> None:
        """Find the link's column in a row, and write the functions below."""
        for column in columns_of(self._link):
            self._place = row.index(column)
        self._child.write(columns)

    async def values(self, host: Host, variables: VariableValues, sources: Values) -> Values:
        if not sources:
            return []  # and nothing is asked, not even whether the arguments are right
        link, place, arguments = self._link, self._place, self._arguments
        if place is not None:
            sources = [source[place] for source in sources]
        if isinstance(link, Part):
            found = [link.read(source) for source in sources]
        else:
            assert arguments
            given = arguments.given(variables)
            if isinstance(link, Root):
                found = [await link.resolve(host, **given)]
            else:
                found = list(await link.ask(host, sources, **given))
        flat = self._shape.flat(found)
        made = await self._child.build(host, variables, flat)
        return made if flat is found else self._shape.restored(found, iter(made))


class _Shape:
    """Takes values out of lists and from between nulls, and puts what was made of them there again."""

    def __init__(self, type_: Any, *, rows: bool) -> None:
        self._rows = rows  # of which none is null, so that a thousand need not be compared with it
        inner, self._required = unwrapped(type_)
        self._items = _Shape(cast("Any", inner).of_type, rows=rows) if isinstance(inner, GraphQLList) else None

    def flat(self, values: Values) -> Values:
        if not self._rows and NoneType in map(type, values):
            if self._required:
                raise Unplanned
            values = [value for value in values if value is not None]
        if self._items is None:
            return values
        return self._items.flat(values[0] if len(values) == 1 else [item for value in values for item in value])

    def restored(self, values: Values, made: Iterator[Any]) -> Values:
        if self._items:
            return [None if value is None else self._items.restored(value, made) for value in values]
        return [None if value is None else next(made) for value in values]


class Objects:
    """Objects of one type, each with the selected fields in the response's order."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._steps = [step for _, step in selection.fields if isinstance(step, Step)]
        self._several = sum(step.asks for step in self._steps) > 1
        self._at_once = AT_ONCE
        self._function: Build
        self.asks = any(step.asks for step in self._steps)

    def write(self, columns: Columns) -> None:
        """Write the functions, now that it is known which columns rows have."""
        writer = Writer(columns)
        self._function = writer.function(self.selection)
        self._at_once = LISTS_AT_ONCE if writer.lists else AT_ONCE
        for step in self._steps:
            step.write(columns.get(self.selection.type_name, ()), columns)

    async def build(self, host: Host, variables: VariableValues, values: Values) -> Values:
        function, row, at_once = self._function, self.selection.row, self._at_once
        below: list[Values] = []
        if self._steps:
            sources = [row(value) for value in values] if row else values
            if self._several:
                below = await host.together([step.values(host, variables, sources) for step in self._steps])
            else:
                # A comprehension that waits is a coroutine of its own.
                for step in self._steps:
                    below.append(await step.values(host, variables, sources))
        made = function(host, values[:at_once], *below)
        while len(made) < len(values):
            at_once *= 1 + (host.values < FEW)
            await host.turn()
            piece = slice(len(made), len(made) + at_once)
            made += function(host, values[piece], *(each[piece] for each in below))
        return made


class Kinds:
    """Objects of several types: each type's are built together."""

    def __init__(self, objects: Mapping[str, Objects], type_name: Callable[[Any], str]) -> None:
        self._objects = objects
        self._type_name = type_name
        self.asks = any(each.asks for each in objects.values())

    def write(self, columns: Columns) -> None:
        for objects in self._objects.values():
            objects.write(columns)

    async def build(self, host: Host, variables: VariableValues, values: Values) -> Values:
        groups: dict[str, Values] = {}
        names = [self._type_name(value) for value in values]
        for name, value in zip(names, values, strict=True):
            groups.setdefault(name, []).append(value)
        branches = [self._objects[name].build(host, variables, group) for name, group in groups.items()]
        made = await host.together(branches) if len(branches) > 1 else [await branch for branch in branches]
        found = {name: iter(each) for name, each in zip(groups, made, strict=True)}
        return [next(found[name]) for name in names]


# What is made of the values that a field has; it `asks` where there are joints below.
Child = Scalars | Objects | Kinds


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation that can be run as often as wanted; `columns` are those that it wants of each table."""

    columns: Mapping[Any, tuple[str, ...]]
    variables: Variables
    permissions: Sequence[Callable[..., Any]]
    root: Child

    async def run(self, host: Host, variables: VariableValues) -> dict[str, Any]:
        """The response's data, by variables that were coerced.

        Anything that goes wrong, there or here, Unplanned or not, is graphql-core's to tell.
        """
        for permission in self.permissions:
            if await permission(None, host) is not True:
                raise Unplanned
        (data,) = await self.root.build(host, variables, [None])
        if host.values > FEW:
            await host.turn()
        return data


@dataclass(frozen=True, slots=True)
class Payloads:
    """What a mutation selects of its fields' results, by response key; the fields themselves graphql-core runs."""

    steps: Mapping[str, Step]

    async def completed(self, key: str, result: Any, host: Host, variables: VariableValues) -> Any:
        """A field's result as the response has it; after anything that goes wrong, it is graphql-core's to complete."""
        return (await self.steps[key].values(host, variables, [result]))[0]
