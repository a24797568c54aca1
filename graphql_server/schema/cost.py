"""What an operation may cost: what its variables hold, and the objects that it may give, pages within pages."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from graphql import (
    ConstValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLDeferDirective,
    GraphQLStreamDirective,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)

from graphql_server.schema.connections import LARGEST_PAGE, PAGE
from graphql_server.schema.limits import Limits, check, fragments_of

PAGED = ("datasets", "images")
SINGLE = ("dataset", "image", "untrained", "node", "savedBy")
PUT_OFF = (GraphQLDeferDirective.name, GraphQLStreamDirective.name)
# A fix is decoded and written, which takes as long as reading a hundred objects.
FIX_COST = 100
# What one item of a list costs.
PRICES = {"ids": 1, "representations": 1, "inputs": FIX_COST}

# A variable's value as it was sent, or its default as it stands in the document.
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Priced:
    """A field that gives objects, or has such fields below; its size may depend on variables.

    Or something that is `put_off`: a fragment, or a list.
    """

    size: int | Callable[[Values], int]
    below: "list[_Priced]"
    page: bool = False
    put_off: bool = False

    def most(self, given: Values) -> int:
        return self.size if isinstance(self.size, int) else self.size(given)


class Cost:
    """What an operation may cost at most, for any variables.

    The document has passed `limits.hold`, so that expanding it once more is quick.
    """

    def __init__(self, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._defaults = _defaults(operation)
        self._fields = _priced(operation.selection_set, fragments_of(document))

    def hold(self, variables: Values, limits: Limits) -> None:
        """Raise QueryTooComplex where the variables hold too much or the operation may give too many objects."""
        if variables:
            _count(variables, limits)
        given = {**self._defaults, **variables}
        cost, places = 0, [(self._fields, 1)]
        while places:
            fields, times = places.pop()
            for field in fields:
                size = field.most(given)
                cost += times * size
                if field.below:
                    places.append((field.below, times * max(size, 1)))
            check(limits, "cost", cost)

    def put_off(self, variables: Values) -> int:
        """How many fragments and lists the answer may leave for later, each counted as often as it comes."""
        given = {**self._defaults, **variables}
        count, places = 0, [(self._fields, 1, 1)]
        while places:
            fields, times, objects = places.pop()
            for field in fields:
                count += objects * field.put_off
                below = times * max(field.most(given), 1)
                # A page is one object, whatever it holds.
                places.append((field.below, below, times if field.page else below))
        return count


def _priced(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> list[_Priced]:
    found: list[_Priced] = []
    for field in _selected(selections, fragments):
        if any(directive.name.value in PUT_OFF for directive in field.directives or ()):
            found.append(_Priced(0, [], put_off=True))
        if not isinstance(field, FieldNode):
            continue
        below = _priced(field.selection_set, fragments) if field.selection_set else []
        size = _size(field)
        if below or size:
            found.append(_Priced(size, below, page=field.name.value in PAGED))
    return found


def _count(variables: Values, limits: Limits) -> None:
    """Hold the number of values: to coerce each costs time, the event loop's, and nested ones are values too."""
    found, containers = 0, [cast("Collection[Any]", variables.values())]
    while containers and found <= limits.values:
        items = containers.pop()
        found += len(items)
        for item in items:
            if isinstance(item, dict):
                containers.append(cast("dict[str, Any]", item).values())
            elif isinstance(item, list):
                containers.append(cast("list[Any]", item))
    check(limits, "values", found)


def _defaults(operation: OperationDefinitionNode) -> dict[str, ConstValueNode]:
    variables = operation.variable_definitions or ()
    return {node.variable.name.value: node.default_value for node in variables if node.default_value}


def _selected(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[SelectionNode]:
    """The fields of one object, and the fragments around them."""
    places = [selections]
    while places:
        for selection in places.pop().selections:
            yield selection
            if isinstance(selection, FragmentSpreadNode):
                places.append(fragments[selection.name.value].selection_set)
            elif isinstance(selection, InlineFragmentNode):
                places.append(selection.selection_set)


def _size(field: FieldNode) -> int | Callable[[Values], int]:
    """How many objects a field gives at most: a page, one for each key that it is given, or none of its own."""
    arguments = {argument.name.value: argument.value for argument in field.arguments or ()}
    for name, price in PRICES.items():
        if name in arguments:
            return _sized(partial(_many, price), [arguments[name]])
    if field.name.value not in PAGED:
        return int(field.name.value in SINGLE)
    return _sized(_page, [arguments[name] for name in ("first", "last") if name in arguments])


def _sized(size: Callable[..., int], nodes: Sequence[ValueNode]) -> int | Callable[[Values], int]:
    """The size by the values of arguments, which is known at once where none is a variable."""
    names = [node.name.value if isinstance(node, VariableNode) else None for node in nodes]
    if not any(names):
        return size(*nodes)
    return lambda given: size(
        *[node if name is None else given.get(name) for name, node in zip(names, nodes, strict=True)]
    )


def _page(*sizes: Any) -> int:
    for value in sizes:
        if (size := _number(value)) is not None:
            return size
    return PAGE


def _many(price: int, keys: Any) -> int:
    items = keys.values if isinstance(keys, ListValueNode) else keys
    return price * (len(cast("list[Any]", items)) if isinstance(items, (list, tuple)) else 1)


def _number(value: Any) -> int | None:
    """A page's size. One that is refused later must not make the others cheaper meanwhile."""
    if isinstance(value, IntValueNode):
        value = int(value.value) if len(value.value) < 10 else LARGEST_PAGE
    # GraphQL takes 1000.0, sent as a variable, for the integer that it is.
    return int(min(max(value, 0), LARGEST_PAGE)) if isinstance(value, (int, float)) else None
