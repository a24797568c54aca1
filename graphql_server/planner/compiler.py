"""Makes plans: the fields that an operation selects are collected, and each is given what its link says."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from graphql_server.planner.code import Held, Scalar, Selection
from graphql_server.planner.links import Leaf, Links, Part, Root, Sure, Unplanned, columns_of
from graphql_server.planner.plans import Child, Kinds, Objects, Payloads, Plan, Scalars, Step
from graphql_server.planner.values import Arguments, Variables


def _without_errors(result: Any) -> Any:
    """What a field has given; errors among the items of a list are graphql-core's to tell."""
    if isinstance(result, list) and any(isinstance(item, Exception) for item in cast("list[Any]", result)):
        raise Unplanned
    return cast("Any", result)


RESULT = Part(_without_errors)


class Planner:
    """Makes plans for operations on one schema."""

    def __init__(self, schema: GraphQLSchema, links: Links) -> None:
        self._schema = schema
        self._links = links

    def plan(
        self, document: DocumentNode, operation: OperationDefinitionNode, conditions: Mapping[str, bool]
    ) -> Plan | Payloads | None:
        """A plan for a query or for a mutation's payloads, where the variables in @include and @skip have these values.

        None where there is none.
        """
        compiler = _Compiler(self._schema, self._links, document, operation, conditions)
        try:
            return compiler.payloads() if operation.operation is OperationType.MUTATION else compiler.plan()
        except Unplanned:
            return None


class _Compiler:
    """Turns the selections of one operation into the tree that a plan runs."""

    def __init__(
        self,
        schema: GraphQLSchema,
        links: Links,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        conditions: Mapping[str, bool],
    ) -> None:
        self._schema = schema
        self._links = links
        # What a mutation gives may never have been in the database.
        self._sure: Mapping[tuple[str, str], Sure] = links.sure if operation.operation is OperationType.QUERY else {}
        self._operation = operation
        self._conditions = VariableValues({}, {**conditions})
        self._fragments = {
            node.name.value: FragmentDetails(node)
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        self._variables = Variables(schema, operation)
        self._wanted: dict[str, set[str]] = {}
        self._permissions: dict[Callable[..., Any], None] = {}

    def plan(self) -> Plan:
        query = self._schema.query_type
        if query is None or self._operation.operation is not OperationType.QUERY:
            raise Unplanned
        root = self._selection(query, self._fields(query), rows=True)
        columns = {
            name: tuple(each for each in table.columns if each in {table.columns[0], *self._wanted.get(name, ())})
            for name, table in self._links.tables.items()
        }
        root.write(columns)
        wanted = {table: columns[name] for name, table in self._links.tables.items()}
        return Plan(wanted, self._variables, tuple(self._permissions), root)

    def payloads(self) -> Payloads:
        mutation = self._schema.mutation_type
        assert mutation
        steps: dict[str, Step] = {}
        # Of what it has changed, a mutation has whole rows.
        columns = {name: table.columns for name, table in self._links.tables.items()}
        for key, details in self._fields(mutation).items():
            if field := mutation.fields.get(details[0].node.name.value):
                child = self._child(get_named_type(field.type), details, rows=False)
                steps[key] = Step(RESULT, None, field.type, child)
                child.write(columns)
        return Payloads(steps)

    def _fields(self, root: GraphQLObjectType) -> Mapping[str, Any]:
        found = collect_fields(self._schema, self._fragments, self._conditions, root, self._operation)
        return found.grouped_field_set

    def _selection(self, type_: GraphQLObjectType, grouped: Mapping[str, Any], *, rows: bool) -> Objects:
        fields = [(key, self._field(type_, details)) for key, details in grouped.items()]
        row = None if rows or type_.name not in self._links.tables else self._links.row
        return Objects(Selection(type_.name, fields, row))

    def _field(self, type_: GraphQLObjectType, details: Any) -> Scalar | Held | Step | str:
        node = details[0].node
        name = node.name.value
        if name == "__typename":
            return type_.name
        link, field = self._links.fields.get((type_.name, name)), type_.fields.get(name)
        if link is None or field is None:
            raise Unplanned
        self._wanted.setdefault(type_.name, set()).update(columns_of(link))
        if isinstance(link, Leaf):
            sure = None if link.read else self._sure.get((type_.name, link.columns[0]))
            return Scalar(link, field.type, sure)
        if isinstance(link, Root):
            self._permissions.update(dict.fromkeys(link.permissions))
        rows = isinstance(link, Part) and link.rows
        child = self._child(get_named_type(field.type), details, rows=rows)
        if isinstance(link, Part) and isinstance(child, Objects) and not child.asks:
            return Held(link, field.type, child.selection)
        arguments = Arguments(field, node, self._links.taken(field), self._variables)
        return Step(link, arguments, field.type, child)

    def _child(self, type_: Any, details: Any, *, rows: bool) -> Child:
        if is_leaf_type(type_):
            return Scalars(type_)
        if not is_abstract_type(type_):
            return self._selection(type_, self._below(type_, details), rows=rows)
        kinds = self._schema.get_possible_types(type_)
        return Kinds(
            {kind.name: self._selection(kind, self._below(kind, details), rows=False) for kind in kinds},
            self._links.type_name,
        )

    def _below(self, type_: GraphQLObjectType, details: Any) -> Mapping[str, Any]:
        found = collect_subfields(self._schema, self._fragments, self._conditions, self._operation, type_, details)
        return found.grouped_field_set
