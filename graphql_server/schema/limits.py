"""Limits to what a document may ask, held before it is validated.

Validation compares every two fields of one response key, and expands fragments; both can be made to take
seconds by a document of one kilobyte. So the document is expanded here first, field by field, and given up at
the first limit that is passed: the time is bounded by the limits, not by what the document would expand to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from graphql_server.errors import QueryTooComplex
from graphql_server.schema.connections import PAGE

# Validation takes about 25 microseconds to compare two fields of one response key.
COMPARISONS = 2000
# Every fragment is expanded for itself too, because validation looks at each by itself.
STEPS_PER_FIELD = 4
PAGED = ("datasets", "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a document may have at most; `cost` is the number of objects that an operation may give."""

    depth: int = 20
    aliases: int = 50
    root_fields: int = 20
    fields: int = 500
    repeats: int = 20
    directives: int = 50
    tokens: int = 2000
    cost: int = 50_000


class _Count:
    """What has been counted in a document, and the limit that each count must keep."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        self._counts[name] += number
        self.hold(name, self._counts[name])

    def hold(self, name: str, number: int) -> None:
        most = getattr(self._limits, name)
        if number > most:
            raise QueryTooComplex(f"The document has more than {most} {name.replace('_', ' ')}.")


@dataclass(frozen=True, slots=True)
class _Place:
    """A selection set still to be expanded: how deep it lies and on which object of the response."""

    selections: SelectionSetNode
    depth: int
    path: int


def hold(document: DocumentNode, limits: Limits) -> None:
    """Raise QueryTooComplex where the document passes a limit."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    steps = limits.fields * STEPS_PER_FIELD
    comparisons = 0
    for definition in document.definitions:
        if not isinstance(definition, (OperationDefinitionNode, FragmentDefinitionNode)):
            continue
        expansion = _Expansion(definition, fragments, limits)
        steps -= expansion.steps
        comparisons += expansion.comparisons
        if steps < 0 or comparisons > COMPARISONS:
            raise QueryTooComplex("The document's fragments repeat too much.")


class _Expansion:
    """The fields of one definition, its fragments put in place of their spreads."""

    def __init__(
        self,
        definition: OperationDefinitionNode | FragmentDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        limits: Limits,
    ) -> None:
        self._fragments = fragments
        self._limits = limits
        self._count = _Count(limits)
        self._keys: dict[tuple[int, str], tuple[int, int]] = {}  # (object, response key) to (object below, repeats)
        self._places = [_Place(definition.selection_set, 1, 0)]
        self.steps = 0
        self.comparisons = 0
        self._count.add("directives", len(definition.directives or ()))
        while self._places:
            self._expand(self._places.pop())

    def _expand(self, place: _Place) -> None:
        for selection in place.selections.selections:
            self.steps += 1
            if self.steps > self._limits.fields * STEPS_PER_FIELD:
                raise QueryTooComplex("The document's fragments repeat too much.")
            self._count.add("directives", len(selection.directives or ()))
            if isinstance(selection, FieldNode):
                self._field(selection, place)
            elif isinstance(selection, FragmentSpreadNode):
                if fragment := self._fragments.get(selection.name.value):
                    self._places.append(_Place(fragment.selection_set, place.depth, place.path))
            else:
                assert isinstance(selection, InlineFragmentNode)
                self._places.append(_Place(selection.selection_set, place.depth, place.path))

    def _field(self, field: FieldNode, place: _Place) -> None:
        self._count.add("fields")
        self._count.hold("depth", place.depth)
        if field.alias:
            self._count.add("aliases")
        key = (place.path, (field.alias or field.name).value)
        path, repeats = self._keys.get(key, (len(self._keys) + 1, 0))
        if place.path == 0 and not repeats:
            self._count.add("root_fields")
        self._keys[key] = (path, repeats + 1)
        self._count.hold("repeats", repeats + 1)
        self.comparisons += repeats
        if field.selection_set:
            self._places.append(_Place(field.selection_set, place.depth + 1, path))


def hold_cost(
    document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any], most: int
) -> None:
    """Raise QueryTooComplex where an operation may give more objects than `most`: pages multiply by nesting.

    The document has passed `hold`, so that expanding it once more is quick.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    defaults = {
        node.variable.name.value: int(node.default_value.value)
        for node in operation.variable_definitions or ()
        if isinstance(node.default_value, IntValueNode)
    }
    given = {**defaults, **variables}
    cost, places = 0, [(operation.selection_set, 1)]
    while places:
        selections, times = places.pop()
        for field in _fields(selections, fragments):
            size = _size(field, given)
            cost += times * size
            if field.selection_set:
                places.append((field.selection_set, times * max(size, 1)))
        if cost > most:
            raise QueryTooComplex(f"The operation may give more than {most} objects; ask for smaller pages.")


def _fields(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[FieldNode]:
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            yield selection
        elif isinstance(selection, FragmentSpreadNode):
            yield from _fields(fragments[selection.name.value].selection_set, fragments)
        else:
            assert isinstance(selection, InlineFragmentNode)
            yield from _fields(selection.selection_set, fragments)


def _size(field: FieldNode, variables: Mapping[str, Any]) -> int:
    """How many objects a field gives at most: a page, one for each key that it is given, or none of its own."""
    arguments = {argument.name.value: argument.value for argument in field.arguments or ()}
    for name in ("ids", "representations"):
        if name in arguments:
            return _length(arguments[name], variables)
    if field.name.value not in PAGED:
        return 0
    sizes = [_number(arguments[name], variables) for name in ("first", "last") if name in arguments]
    return next((size for size in sizes if size is not None), PAGE)


def _length(value: ValueNode, variables: Mapping[str, Any]) -> int:
    keys = variables.get(value.name.value) if isinstance(value, VariableNode) else getattr(value, "values", ())
    return len(cast("Sized", keys)) if isinstance(keys, (list, tuple)) else 1


def _number(value: ValueNode, variables: Mapping[str, Any]) -> int | None:
    if isinstance(value, IntValueNode):
        return int(value.value)
    number = variables.get(value.name.value) if isinstance(value, VariableNode) else None
    return number if isinstance(number, int) else None
