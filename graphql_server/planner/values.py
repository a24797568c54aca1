"""Values in and out: variables as they are sent, arguments as resolvers take them, scalars as the response has them."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    OperationDefinitionNode,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    is_leaf_type,
    type_from_ast,  # pyright: ignore[reportUnknownVariableType] - half typed by graphql-core
)
from graphql.execution import get_argument_values, get_variable_values
from graphql.execution.values import VariableValues

from graphql_server.planner.links import Sure, Taken, Unplanned

# What a value must not be to be written as it is; all else goes through the scalar's own serialization.
# What a class is Python sees without a call, and numbers up to 2**30 it compares in a single step.
UNUSUAL: Mapping[Any, tuple[type, str]] = {
    GraphQLInt: (int, "{0}.__class__ is not int or not -1073741824 < {0} < 1073741824"),
    GraphQLString: (str, "{0}.__class__ is not str"),
    GraphQLID: (str, "{0}.__class__ is not str"),
    GraphQLBoolean: (bool, "{0}.__class__ is not bool"),
    GraphQLFloat: (float, "{0}.__class__ is not float or {0} - {0} != 0"),
}
SENT: Mapping[Any, Callable[[Any], bool]] = {
    GraphQLInt: lambda value: type(value) is int and -(2**31) <= value < 2**31,
    GraphQLString: lambda value: type(value) is str,
    GraphQLID: lambda value: type(value) is str,
    GraphQLBoolean: lambda value: type(value) is bool,
}


def unwrapped(type_: Any) -> tuple[Any, bool]:
    """A type without its exclamation mark, and whether it had one."""
    return (cast("Any", type_).of_type, True) if isinstance(type_, GraphQLNonNull) else (type_, False)


def unusual(type_: Any, *, null: bool) -> str:
    """Python's condition, with `{0}` for the value, for a leaf that must be given to `serialized`.

    With `null`, the null of a nullable type need not.
    """
    leaf, required = unwrapped(type_)
    _, condition = _unusual(leaf)
    # What is usual comes first, as every value is looked at.
    return condition if required or not null else f"({condition}) and {{0}} is not None"


def is_usual(type_: Any, sure: Sure, *, null: bool) -> bool:
    """Whether a column's values are sure to need no look; `null` where a leaf may have none though its type has not."""
    leaf, required = unwrapped(type_)
    return _unusual(leaf)[0] is sure.type and (null or not required or not sure.null)


def _unusual(leaf: Any) -> tuple[type, str]:
    whole = int, "{0}.__class__ is not int"
    return UNUSUAL.get(leaf) or (whole if leaf.coerce_output_value is int else (object, "True"))


def serialized(type_: Any) -> Callable[[Any], Any]:
    """How graphql-core writes a leaf; Unplanned where it would raise an error."""
    leaf, required = unwrapped(type_)
    if not is_leaf_type(leaf):
        raise Unplanned

    def write(value: Any) -> Any:
        if value is None and not required:
            return None
        written = None if value is None or isinstance(value, Exception) else leaf.coerce_output_value(value)
        if written is None:
            raise Unplanned
        return written

    return write


class Variables:
    """An operation's variables: those of GraphQL's own scalars are checked here, and all others by graphql-core."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._checks = [self._check(definition) for definition in self._definitions]
        # Where arguments hold variables inside other values, graphql-core wants more than their values.
        self.whole = False

    def _check(self, definition: VariableDefinitionNode) -> tuple[str, Callable[[Any], bool] | None, bool, Any]:
        type_, required = unwrapped(type_from_ast(self._schema, definition.type))
        default = self._coerced([definition], {}).coerced if definition.default_value else {}
        name = definition.variable.name.value
        return name, SENT.get(type_), not required, default.get(name, Undefined)

    def coerced(self, sent: Mapping[str, Any]) -> VariableValues:
        values: dict[str, Any] = {}
        for name, is_right, optional, default in self._checks:
            value = sent.get(name, Undefined)
            if value is Undefined and (default is not Undefined or optional):
                if default is not Undefined:
                    values[name] = default
            elif self.whole or not ((value is None and optional) or (is_right and is_right(value))):
                return self._coerced(self._definitions, sent)
            else:
                values[name] = value
        return self._coerced(self._definitions, sent) if self.whole else VariableValues({}, values)

    def _coerced(self, definitions: Any, sent: Mapping[str, Any]) -> VariableValues:
        values = get_variable_values(self._schema, definitions, dict(sent), max_errors=1)
        if isinstance(values, list):
            raise Unplanned
        return values


class Arguments:
    """A field's arguments as its resolver takes them; what no variable changes is made once."""

    def __init__(self, field: GraphQLField, node: FieldNode, taken: Taken, variables: Variables) -> None:
        self._field, self._node, self._taken = field, node, taken
        self._fixed: dict[str, Any] = {}
        self._sent: list[tuple[str, str, Any, bool, Callable[[Any], Any] | None]] = []
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        self._nested = any(_holds_variable(value) for value in given.values())
        variables.whole |= self._nested
        constant = FieldNode(
            name=node.name,
            arguments=tuple(each for each in node.arguments or () if not isinstance(each.value, VariableNode)),
        )
        if not self._nested:
            self._split(given, get_argument_values(_optional(field), constant))

    def _split(self, given: Mapping[str, Any], fixed: dict[str, Any]) -> None:
        for name, argument in self._field.args.items():
            key, convert = self._taken[name]
            if isinstance(given.get(name), VariableNode):
                default = fixed.get(name, Undefined)
                self._sent.append(
                    (key, given[name].name.value, default, unwrapped(cast("Any", argument).type)[1], convert)
                )
            elif name in fixed:
                self._fixed[key] = convert(fixed[name]) if convert else fixed[name]

    def given(self, variables: VariableValues) -> dict[str, Any]:
        if self._nested:
            return self._from_core(variables)
        if not self._sent:
            return self._fixed
        arguments, values = self._fixed.copy(), variables.coerced
        for key, name, default, required, convert in self._sent:
            value = values.get(name, default)
            if value is Undefined:
                continue
            if value is None and required:
                raise Unplanned
            arguments[key] = convert(value) if convert else value
        return arguments

    def _from_core(self, variables: VariableValues) -> dict[str, Any]:
        values = get_argument_values(self._field, self._node, variables)
        pairs = ((self._taken[name], value) for name, value in values.items())
        return {key: convert(value) if convert else value for (key, convert), value in pairs}


def _optional(field: GraphQLField) -> GraphQLField:
    """The field with no argument required: those that variables give are left out where the others are made."""
    arguments = {
        name: GraphQLArgument(unwrapped(cast("Any", argument).type)[0], default_value=argument.default_value)
        for name, argument in field.args.items()
    }
    return GraphQLField(GraphQLString, arguments)


def _holds_variable(value: Any) -> bool:
    """Whether a variable stands inside a list or an object."""
    inside = [*(getattr(value, "values", ()) or ()), *(field.value for field in getattr(value, "fields", ()) or ())]
    return any(isinstance(each, VariableNode) or _holds_variable(each) for each in inside)
