"""Makes up operations that the schema allows, whatever they ask for: good pages and bad, aliases, fragments, variables.

No library reaches that far: hypothesis-graphql knows neither variables nor directives nor fragments with a name, and
all but none of the keys and cursors that it makes up exist.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    is_composite_type,
    is_leaf_type,
)
from graphql import get_named_type as named_type  # pyright: ignore[reportUnknownVariableType] - half typed by graphql-core

# The objects that an operation may hold, so that it stays below the limits that are tested elsewhere.
OBJECTS = 12
DEPTH = 9
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """An operation as a client sends it."""

    query: str
    variables: Values


@dataclass
class Maker:
    """Makes up one operation.

    `known` has values of arguments and inputs that mean something, by name, or a function of the arguments beside it
    that gives them.
    """

    schema: GraphQLSchema
    known: dict[str, Sequence[Any] | Callable[[Values], Sequence[Any]]]
    random: Random
    without: Collection[str] = ()
    variables: Values = field(default_factory=dict[str, Any])
    _definitions: list[str] = field(default_factory=list[str])
    _fragments: list[str] = field(default_factory=list[str])
    _siblings: Values = field(default_factory=dict[str, Any])
    _objects: int = 0
    _names: int = 0
    _stream: str = ""

    def operation(self, kind: str = "query") -> Made:
        """A query or a mutation."""
        root = self.schema.query_type if kind == "query" else self.schema.mutation_type
        # Two lists of one response key must be streamed alike.
        self._stream = f" @stream(initialCount: {self.random.randint(0, 3)})" if self._chance(0.3) else ""
        selections = self._selections(root, 1)
        definitions = f"({', '.join(self._definitions)})" if self._definitions else ""
        return Made(f"{kind} Made{definitions} {selections} {' '.join(self._fragments)}", self.variables)

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _name(self, start: str) -> str:
        self._names += 1
        return f"{start}{self._names}"

    def _selections(self, type_: Any, depth: int) -> str:
        parts = [self._selection(type_, depth) for _ in range(self.random.randint(1, 4))]
        return f"{{ {' '.join(part for part in parts if part) or '__typename'} }}"

    def _selection(self, type_: Any, depth: int) -> str:
        if self._chance(0.08):
            return f"{self._name('t')}: __typename" if self._chance(0.5) else "__typename"
        if self._chance(0.5 if isinstance(type_, (GraphQLUnionType, GraphQLInterfaceType)) else 0.12):
            return self._fragment(type_, depth)
        return self._field(type_, depth) if not isinstance(type_, GraphQLUnionType) else "__typename"

    def _fragment(self, type_: Any, depth: int) -> str:
        on = (
            type_ if isinstance(type_, GraphQLObjectType) else self.random.choice(self.schema.get_possible_types(type_))
        )
        if on.interfaces and self._chance(0.2):
            on = on.interfaces[0]
        body = self._selections(on, depth)
        if self._chance(0.4):
            name = self._name("F")
            self._fragments.append(f"fragment {name} on {on.name} {body}")
            return f"...{name}{self._directives()}{self._defer()}"
        condition = "" if on is type_ and self._chance(0.5) else f" on {on.name}"
        return f"...{condition}{self._directives()}{self._defer()} {body}"

    def _field(self, type_: Any, depth: int) -> str:
        fields = {name: each for name, each in cast("dict[str, Any]", type_.fields).items() if name not in self.without}
        deep = [name for name, each in fields.items() if is_composite_type(_named(each.type))]
        leaves = [name for name in fields if name not in deep]
        may = depth < DEPTH and self._objects < OBJECTS and deep
        name = self.random.choice(deep if may and (not leaves or self._chance(0.7)) else leaves or ["__typename"])
        if name == "__typename":
            return name
        arguments = self._arguments(fields[name].args)
        # Two fields of one response key must agree in their arguments.
        alias = f"{self._name('a')}: " if fields[name].args or self._chance(0.1) else ""
        below = _named(fields[name].type)
        if is_leaf_type(below):
            return f"{alias}{name}{arguments}{self._directives()}"
        self._objects += 1
        stream = self._stream if _is_list(fields[name].type) else ""
        return f"{alias}{name}{arguments}{self._directives()}{stream} {self._selections(below, depth + 1)}"

    def _directives(self) -> str:
        if not self._chance(0.1):
            return ""
        condition = "true" if self._chance(0.6) else "false"
        if self._chance(0.5):
            condition = self._variable("Boolean!", self._chance(0.6), default=self._chance(0.3) and "true")
        return f" @{self.random.choice(('include', 'skip'))}(if: {condition})"

    def _defer(self) -> str:
        if not self._chance(0.3):
            return ""
        return f" @defer(if: {self._variable('Boolean!', self._chance(0.7))})" if self._chance(0.2) else " @defer"

    def _variable(self, type_: str, value: Any, *, default: Any = None) -> str:
        name = self._name("v")
        self._definitions.append(f"${name}: {type_}" + (f" = {default}" if default else ""))
        if not default or self._chance(0.5):
            self.variables[name] = value
        return f"${name}"

    def _arguments(self, arguments: dict[str, Any]) -> str:
        chosen = {
            name: argument.type
            for name, argument in arguments.items()
            if _is(argument.type, GraphQLNonNull) or self._chance(0.3)
        }
        if {"first", "last"} <= chosen.keys() and self._chance(0.9):
            del chosen["first"]
        self._siblings = {name: self._value(name, type_) for name, type_ in sorted(chosen.items(), key=self._late)}
        given = [f"{name}: {self._given(self._siblings[name], type_)}" for name, type_ in chosen.items()]
        return f"({', '.join(given)})" if given else ""

    def _late(self, argument: tuple[str, Any]) -> bool:
        """Whether a value depends on those of other arguments."""
        return callable(self.known.get(argument[0]))

    def _given(self, value: Any, type_: Any) -> str:
        # A file comes by a variable, and so does all that may hold one.
        whole = _is(_named(type_), GraphQLInputObjectType) and _named(type_).name in self.known
        if self._chance(0.4) or whole:
            return self._variable(str(type_), value)
        return written(value, type_)

    def _value(self, name: str, type_: Any) -> Any:
        """A value as JSON has it, mostly one that means something."""
        if _is(type_, GraphQLNonNull):
            return self._present(name, type_.of_type)
        return None if self._chance(0.04) else self._present(name, type_)

    def _present(self, name: str, type_: Any) -> Any:
        if _is(type_, GraphQLList):
            return [self._present(name, _named(type_)) for _ in range(self.random.randint(0, 4))]
        if _is(type_, GraphQLInputObjectType) and type_.name not in self.known:
            names = [key for key in type_.fields if self._chance(0.35)]
            return {key: self._value(key, type_.fields[key].type) for key in names}
        if name in self.known:
            known = self.known[name]
            return self.random.choice(known(self._siblings) if callable(known) else known)
        if _is(type_, GraphQLEnumType):
            return self.random.choice(list(type_.values))
        return self.random.choice(cast("Sequence[Any]", self.known[type_.name]))


def _is(type_: Any, kind: Any) -> bool:
    return isinstance(type_, kind)


def _is_list(type_: Any) -> bool:
    return _is(type_.of_type if _is(type_, GraphQLNonNull) else type_, GraphQLList)


def _named(type_: Any) -> Any:
    return cast("Any", named_type(type_))


def written(value: Any, type_: Any) -> str:
    """A value as a document has it."""
    named = _named(type_)
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(written(each, named) for each in cast('list[Any]', value))}]"
    if isinstance(value, dict):
        fields: dict[str, Any] = named.fields if _is(named, GraphQLInputObjectType) else {}
        types = {key: field.type for key, field in fields.items()}
        pairs = cast("dict[str, Any]", value).items()
        return f"{{{', '.join(f'{key}: {written(each, types.get(key))}' for key, each in pairs)}}}"
    if isinstance(value, str) and not _is(named, GraphQLEnumType):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
