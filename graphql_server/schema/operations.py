"""Documents and their operations, with all that can be known of an operation before its variables are sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    REMOVE,
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    get_operation_ast,
    visit,
)
from graphql.execution.values import VariableValues

from graphql_server.planner import Payloads, Plan, Planner
from graphql_server.schema.cost import PUT_OFF, Cost

# Each fragment and list that is put off is kept and told of by itself, for 0.1 milliseconds of the event loop's time
# that graphql-core takes at one go. What would leave more for later than so many is answered at once.
MOST_PUT_OFF = 500
# Characters of a document that is kept with an operation: what is parsed of it may take two hundred times as much.
LONGEST_KEPT = 4 * 1024
CONDITIONS = (GraphQLIncludeDirective.name, GraphQLSkipDirective.name)


@dataclass(slots=True, eq=False)
class Operation:
    """What a client wants to have run; a `document_id` names a persisted one, whose query need not be sent.

    Clients send the same ones over and over, so one that has been answered as planned keeps its `plan`, and what that
    has made of its variables, and a persisted one keeps itself as `resolved`; it then belongs to one executor.
    """

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    name: str | None = None
    document_id: str = ""
    plan: Plan | None = field(default=None, init=False)
    coerced: VariableValues | None = field(default=None, init=False)
    resolved: "Operation | None" = field(default=None, init=False)

    def of(self, query: str) -> "Operation":
        """The same with the document that it names, and with its plan where it has come before with a short one."""
        resolved = self.resolved or replace(self, query=query)
        if len(query) <= LONGEST_KEPT:
            self.resolved = resolved
        return resolved


class Document:
    """A document that is good to run: as it was `sent`, and the `node` that is answered at once.

    The two differ where something is put off by @defer or @stream.
    """

    def __init__(self, sent: DocumentNode) -> None:
        found = _Directives()
        visit(sent, found)
        self.sent = sent
        self.node: DocumentNode = visit(sent, _AtOnce()) if found.put_off else sent
        self._names = sorted(found.conditions)
        self._ready: dict[str | None, Ready] = {}

    def operation(self, name: str | None) -> "Ready | None":
        """The operation of this name, or the only one; None where that is not clear."""
        ready = self._ready.get(name)
        if ready is None and (node := get_operation_ast(self.node, name)):
            ready = self._ready[name] = Ready(self.node, node, self._names, self._cost(name))
        return ready

    @property
    def in_parts(self) -> bool:
        """Whether it may be answered in parts."""
        return self.sent is not self.node

    def puts_off(self, ready: "Ready", variables: Mapping[str, Any]) -> bool:
        """Whether its operation is a query that puts something off, and not too much."""
        return (
            self.in_parts
            and ready.node.operation is OperationType.QUERY
            and ready.cost.put_off(variables) <= MOST_PUT_OFF
        )

    def _cost(self, name: str | None) -> Cost:
        operation = get_operation_ast(self.sent, name)
        assert operation
        return Cost(self.sent, operation)


class Ready:
    """An operation: what it costs, and its plans by the values of the variables that its conditions have."""

    def __init__(self, document: DocumentNode, node: OperationDefinitionNode, names: list[str], cost: Cost) -> None:
        self.document = document
        self.node = node
        self.cost = cost
        self.plans: dict[tuple[bool, ...] | None, Plan | Payloads | None] = {}
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

    def planned(self, planner: Planner, conditions: tuple[bool, ...]) -> Plan | Payloads | None:
        return planner.plan(self.document, self.node, dict(zip(self._names, conditions, strict=True)))


class _Directives(Visitor):
    """Finds the variables in conditions, and whether anything is put off."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions = set[str]()
        self.put_off = False

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.put_off |= node.name.value in PUT_OFF
        if node.name.value in CONDITIONS:
            self.conditions.update(
                argument.value.name.value
                for argument in node.arguments or ()
                if isinstance(argument.value, VariableNode)
            )


class _AtOnce(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: Any) -> Any:
        return REMOVE if node.name.value in PUT_OFF else None
