"""Limits to what a document may ask, held before it is validated, and to what it may give, before it is executed.

Validation compares every two fields of one response key, and expands fragments; both can be made to take
seconds by a document of one kilobyte. So the document is expanded here first, field by field, and given up at
the first limit that is passed: the time is bounded by the limits, not by what the document would expand to.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    TokenKind,
)

from graphql_server.errors import QueryTooComplex
from graphql_server.settings import Settings

# Validation takes about 40 microseconds to compare two fields or two fragments that meet in one object.
COMPARISONS_PER_FIELD = 2
# Every fragment is expanded for itself too, because validation looks at each by itself.
STEPS_PER_FIELD = 4
LONGEST_DOCUMENT = 100_000
LONGEST_NUMBER = 100  # characters; of more than 4,300 digits Python makes no number at all
NUMBERS = (TokenKind.INT, TokenKind.FLOAT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a document may have at most, and with `values` and `cost` its variables and its answer."""

    depth: int
    aliases: int
    root_fields: int
    fields: int
    repeats: int
    directives: int
    arguments: int
    tokens: int
    values: int
    cost: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that the operator has set."""
        return cls(**{name: getattr(settings, f"query_{name}") for name in PHRASES})


PHRASES = {
    "depth": "levels of fields",
    "aliases": "aliases",
    "root_fields": "root fields",
    "fields": "fields with fragments expanded",
    "repeats": "fields of one response key in one object",
    "directives": "directives",
    "arguments": "arguments, variables, input fields and aliases",
    "tokens": "tokens or comments",
    "values": "values in its variables",
    "cost": "objects to give",
}
assert PHRASES.keys() == {field.name for field in fields(Limits)}


def check(limits: Limits, name: str, number: int) -> None:
    """Raise QueryTooComplex where a number is over the limit of that name."""
    if number > getattr(limits, name):
        raise passed(limits, name)


def passed(limits: Limits, name: str) -> QueryTooComplex:
    """What an operation is refused for that passes the limit of that name."""
    most: int = getattr(limits, name)
    return QueryTooComplex(f"The operation has more than {most} {PHRASES[name]} (QUERY_{name.upper()}).")


def hold(document: DocumentNode, limits: Limits) -> None:
    """Raise QueryTooComplex where the document passes a limit."""
    check(limits, "arguments", _colons(document))
    fragments = fragments_of(document)
    steps = comparisons = 0
    for definition in document.definitions:
        if not isinstance(definition, (OperationDefinitionNode, FragmentDefinitionNode)):
            continue
        expansion = _Expansion(definition, fragments, limits)
        steps += expansion.steps
        comparisons += expansion.comparisons
        if steps > limits.fields * STEPS_PER_FIELD or comparisons > limits.fields * COMPARISONS_PER_FIELD:
            raise _repetitive(limits)


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}


def _colons(document: DocumentNode) -> int:
    """How many arguments, variables, input fields and aliases there are: a colon follows each and nothing else.

    The tokens are gone through once, so numbers that are too long are refused here as well.
    """
    assert document.loc
    count, token = 0, document.loc.start_token
    while token := token.next:
        count += token.kind is TokenKind.COLON
        if token.end - token.start > LONGEST_NUMBER and token.kind in NUMBERS:
            raise QueryTooComplex(f"A number in the operation has more than {LONGEST_NUMBER} characters.")
    return count


def _repetitive(limits: Limits) -> QueryTooComplex:
    return QueryTooComplex(
        f"The operation repeats fields or fragments too much for {limits.fields} fields (QUERY_FIELDS), "
        "or spreads a fragment within itself."
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A selection set still to be expanded: how deep it lies and on which object of the response."""

    selections: SelectionSetNode
    depth: int
    path: int


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
        self._counts = Counter[str]()
        self._keys: dict[tuple[int, str], tuple[int, int]] = {}  # (object, response key) to (object below, repeats)
        self._spreads = Counter[int]()
        self._places = [_Place(definition.selection_set, 1, 0)]
        self.steps = 0
        self.comparisons = 0
        self._add("directives", len(definition.directives or ()))
        while self._places:
            self._expand(self._places.pop())

    def _add(self, name: str, number: int = 1) -> None:
        self._counts[name] += number
        check(self._limits, name, self._counts[name])

    def _expand(self, place: _Place) -> None:
        for selection in place.selections.selections:
            self.steps += 1
            if self.steps > self._limits.fields * STEPS_PER_FIELD:
                raise _repetitive(self._limits)
            self._add("directives", len(selection.directives or ()))
            if isinstance(selection, FieldNode):
                self._field(selection, place)
            elif isinstance(selection, FragmentSpreadNode):
                self._spread(selection, place)
            else:
                assert isinstance(selection, InlineFragmentNode)
                self._places.append(_Place(selection.selection_set, place.depth, place.path))

    def _spread(self, spread: FragmentSpreadNode, place: _Place) -> None:
        self.comparisons += self._spreads[place.path]
        self._spreads[place.path] += 1
        if fragment := self._fragments.get(spread.name.value):
            self._places.append(_Place(fragment.selection_set, place.depth, place.path))

    def _field(self, field: FieldNode, place: _Place) -> None:
        self._add("fields")
        check(self._limits, "depth", place.depth)
        if field.alias:
            self._add("aliases")
        key = (place.path, (field.alias or field.name).value)
        path, repeats = self._keys.get(key, (len(self._keys) + 1, 0))
        if place.path == 0 and not repeats:
            self._add("root_fields")
        self._keys[key] = (path, repeats + 1)
        check(self._limits, "repeats", repeats + 1)
        self.comparisons += repeats
        if field.selection_set:
            self._places.append(_Place(field.selection_set, place.depth + 1, path))
