"""Plans: an operation as a tree of objects and steps between them, and how it is run, level by level."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import NoneType
from typing import Any, NamedTuple, Protocol, cast

from graphql import GraphQLList
from graphql.execution.values import VariableValues

from graphql_server.planner.code import Build, function
from graphql_server.planner.links import Joint, Part, Root, Unplanned, columns_of
from graphql_server.planner.values import Arguments, Variables, serialized, unwrapped

# So many objects are made at one go; then others may have their turn.
AT_ONCE = 250
Values = list[Any]


class Host(Protocol):
    """Who runs a plan."""

    async def turn(self, values: int) -> None:
        """Wait until so many values may be written without keeping others waiting."""

    async def together(self, branches: Sequence[Awaitable[Values]]) -> list[Values]:
        """Run branches that may ask for the same at the same time."""
        ...


class Run(NamedTuple):
    """One run of a plan: what resolvers get for `info`, and the coerced variables."""

    info: Any
    variables: VariableValues
    host: Host


class Child(Protocol):
    """What is made of the values that a field has: objects of one type, of several types, or scalars."""

    @property
    def asks(self) -> bool:
        """Whether there are joints below."""
        ...

    async def build(self, run: Run, values: Values) -> Values: ...


class Scalars:
    """Values that were asked for and are written as they are."""

    asks = False

    def __init__(self, type_: Any) -> None:
        self._write = serialized(type_)

    async def build(self, run: Run, values: Values) -> Values:  # noqa: ARG002 - as all children
        return [self._write(value) for value in values]


class Step:
    """A field that has objects or must be asked for: one value for each source."""

    def __init__(self, link: Part | Joint | Root, arguments: Arguments | None, type_: Any, child: Child) -> None:
        self._link = link
        self._arguments = arguments
        self._shape = _Shape(type_, rows=isinstance(link, Part) and link.rows)
        self._child = child
        self.asks = child.asks or not isinstance(link, Part)
        self._place: int | None = None

    def place(self, columns: Sequence[str]) -> None:
        """Say where in a row the link's column stands."""
        for column in columns_of(self._link):
            self._place = columns.index(column)

    async def values(self, run: Run, sources: Values) -> Values:
        if not sources:
            return []  # and nothing is asked, not even whether the arguments are right
        link, place, arguments = self._link, self._place, self._arguments
        if place is not None:
            sources = [source[place] for source in sources]
        if isinstance(link, Part):
            found = [link.read(source) for source in sources]
        else:
            assert arguments
            given = arguments.given(run.variables)
            if isinstance(link, Root):
                found = [await link.resolve(run.info, **given)]
            else:
                found = list(await link.ask(run.info, sources, **given))
        flat = self._shape.flat(found)
        return self._shape.restored(found, iter(await self._child.build(run, flat)))


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
        if self._rows or NoneType not in map(type, values):
            return list(islice(made, len(values)))
        return [None if value is None else next(made) for value in values]


class Objects:
    """Objects of one type, each with the selected fields in the response's order."""

    def __init__(self, fields: Sequence[tuple[str, object]], row: Callable[[Any], Any] | None) -> None:
        self._fields = fields
        self._row = row
        self._steps = [step for _, step in fields if isinstance(step, Step)]
        self._several = sum(step.asks for step in self._steps) > 1
        self._function: Build | None = None
        self.asks = any(step.asks for step in self._steps)

    def write(self, columns: Sequence[str]) -> None:
        """Write the function, now that it is known which columns a row has."""
        self._function = function(self._fields, columns)
        for step in self._steps:
            step.place(columns)

    async def build(self, run: Run, values: Values) -> Values:
        function = self._function
        assert function
        sources = [self._row(value) for value in values] if self._row else values
        below: list[Values] = []
        if self._several:
            below = await run.host.together([step.values(run, sources) for step in self._steps])
        else:
            for step in self._steps:
                below.append(await step.values(run, sources))  # a comprehension would be a coroutine more
        if len(sources) <= AT_ONCE:
            return function(run.info, sources, *below)
        made: Values = []
        for at in range(0, len(sources), AT_ONCE):
            end = at + AT_ONCE
            await run.host.turn(AT_ONCE * len(self._fields))
            made += function(run.info, sources[at:end], *(values[at:end] for values in below))
        return made


class Kinds:
    """Objects of several types: each type's are built together."""

    def __init__(self, objects: Mapping[str, Objects], type_name: Callable[[Any], str]) -> None:
        self._objects = objects
        self._type_name = type_name
        self.asks = any(each.asks for each in objects.values())

    async def build(self, run: Run, values: Values) -> Values:
        groups: dict[str, Values] = {}
        names = [self._type_name(value) for value in values]
        for name, value in zip(names, values, strict=True):
            groups.setdefault(name, []).append(value)
        branches = [self._objects[name].build(run, group) for name, group in groups.items()]
        made = await run.host.together(branches) if len(branches) > 1 else [await branch for branch in branches]
        found = {name: iter(each) for name, each in zip(groups, made, strict=True)}
        return [next(found[name]) for name in names]


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation that can be run as often as wanted; `columns` are those that it wants of each type's rows."""

    columns: Mapping[str, tuple[str, ...]]
    variables: Variables
    permissions: Sequence[Callable[..., Any]]
    root: Child

    async def run(self, info: Any, sent: Mapping[str, Any], host: Host) -> dict[str, Any]:
        """The response's data; anything that goes wrong, Unplanned or not, is graphql-core's to tell."""
        run = Run(info, self.variables.coerced(sent), host)
        for permission in self.permissions:
            if await permission(None, info) is not True:
                raise Unplanned
        return (await self.root.build(run, [None]))[0]


@dataclass(frozen=True, slots=True)
class Payloads:
    """What a mutation selects of its fields' results, by response key; the fields themselves graphql-core runs."""

    steps: Mapping[str, Step]

    async def completed(self, key: str, result: Any, info: Any, variables: VariableValues, host: Host) -> Any:
        """A field's result as the response has it; after anything that goes wrong, it is graphql-core's to complete."""
        return (await self.steps[key].values(Run(info, variables, host), [result]))[0]
