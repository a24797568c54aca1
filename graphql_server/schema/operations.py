"""Documents and their operations, with all that can be known of an operation before its variables are sent."""

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    get_operation_ast,
    visit,
)

from graphql_server.planner import Plan, Planner
from graphql_server.schema.cost import Cost

CONDITIONS = (GraphQLIncludeDirective.name, GraphQLSkipDirective.name)


class Document:
    """A document that is good to run."""

    def __init__(self, node: DocumentNode) -> None:
        self.node = node
        self._names = sorted(_condition_names(node))
        self._ready: dict[str | None, Ready] = {}

    def operation(self, name: str | None) -> "Ready | None":
        """The operation of this name, or the only one; None where that is not clear."""
        ready = self._ready.get(name)
        if ready is None and (node := get_operation_ast(self.node, name)):
            ready = self._ready[name] = Ready(self.node, node, self._names)
        return ready


class Ready:
    """An operation: what it costs, and its plans by the values of the variables that its conditions have."""

    def __init__(self, document: DocumentNode, node: OperationDefinitionNode, names: list[str]) -> None:
        self.node = node
        self.cost = Cost(document, node)
        self.plans: dict[tuple[bool, ...], Plan | None] = {}
        self._document = document
        self._names = names
        self._defaults = {
            definition.variable.name.value: definition.default_value.value
            for definition in node.variable_definitions or ()
            if isinstance(definition.default_value, BooleanValueNode)
        }

    def conditions(self, variables: Mapping[str, Any]) -> tuple[bool, ...] | None:
        """The values of the variables in @include and @skip; None where one has none."""
        if not self._names:
            return ()
        values = [variables.get(name, self._defaults.get(name)) for name in self._names]
        return tuple(values) if all(isinstance(value, bool) for value in values) else None

    def planned(self, planner: Planner, conditions: tuple[bool, ...]) -> Plan | None:
        return planner.plan(self._document, self.node, dict(zip(self._names, conditions, strict=True)))


def _condition_names(document: DocumentNode) -> Iterator[str]:
    found = _Conditions()
    visit(document, found)
    yield from found.names


class _Conditions(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names = set[str]()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        if node.name.value in CONDITIONS:
            self.names.update(
                argument.value.name.value
                for argument in node.arguments or ()
                if isinstance(argument.value, VariableNode)
            )
