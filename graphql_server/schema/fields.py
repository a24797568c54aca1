"""How fields are declared, once for both executors: graphql-core calls resolvers, the planner follows links.

An object that is kept in the database is its row; its fields say which columns they are made from, and how.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, ClassVar, cast

import strawberry
from graphql import GraphQLField, GraphQLList, GraphQLScalarType, get_named_type, is_leaf_type
from strawberry.permission import PermissionExtension
from strawberry.types.arguments import convert_argument
from strawberry.types.field import StrawberryField

from graphql_server.engines import Row
from graphql_server.listings import Table
from graphql_server.planner import Joint, Leaf, Link, Links, Part, Root, Sure

LINK = "link"
DEFINITION = "strawberry-definition"


class Stored:
    """What is kept in the database; its row has all columns where resolvers read it."""

    COLUMNS: ClassVar[tuple[str, ...]]
    row: Row

    def value(self, column: str) -> Any:
        return self.row[self.COLUMNS.index(column)]


def column(name: str, description: str, read: Callable[[Any], Any] | None = None, *, otherwise: Any = None) -> Any:
    """A field that is a column, as it is or as `read` makes it; `otherwise` stands for NULL."""

    def resolve(self: Any) -> Any:
        value = read(self.value(name)) if read else self.value(name)
        return otherwise if value is None else value

    return _field(resolve, description, Leaf((name,), read, otherwise))


def derived(read: Callable[..., Any], columns: tuple[str, ...], description: str) -> Any:
    """A field that `read(info, *columns)` gives; it reads nothing but the context."""

    def resolve(self: Any, info: strawberry.Info[Any, None]) -> Any:
        return read(info, *map(self.value, columns))

    return _field(resolve, description, Leaf(columns, read, context=True))


def leaf(read: Callable[[Any], Any], description: str) -> Any:
    """A scalar that an object has by itself."""

    def resolve(self: Any) -> Any:
        return read(self)

    return _field(resolve, description, Leaf(read=read))


def part(
    read: Callable[[Any], Any],
    description: str,
    *,
    column: str | None = None,
    make: Callable[[Any], Any] | None = None,
    coming: Callable[[Any], Any] | None = None,
) -> Any:
    """An object or a list that an object has by itself, or in a column.

    Where `read` gives rows, `make(self)` gives the objects that hold them. What is not there yet, which the planner
    never meets, is what `coming(self)` gives.
    """

    def resolve(self: Any) -> Any:
        if coming and (later := coming(self)) is not None:
            return later
        if make:
            return make(self)
        return read(self.value(column) if column else self)

    return _field(resolve, description, Part(read, column, rows=make is not None))


def joint(
    ask: Callable[..., Awaitable[Any]], column: str | None, description: str, directives: Sequence[object] = ()
) -> Any:
    """A field that `ask(info, sources, **arguments)` gives for many objects at once.

    `sources` are the objects, or their values of a column.
    """

    async def resolve(self: Any, info: strawberry.Info[Any, None], **arguments: Any) -> Any:
        return (await ask(info, [self.value(column) if column else self], **arguments))[0]

    own, theirs = inspect.signature(resolve), inspect.signature(ask)
    parameters = [*own.parameters.values()][:2] + [*theirs.parameters.values()][2:]
    resolve.__signature__ = own.replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess] - for Strawberry, which reads the arguments there
    return _field(resolve, description, Joint(ask, column), directives)


def _field(resolver: Callable[..., Any], description: str, link: Link, directives: Sequence[object] = ()) -> Any:
    return strawberry.field(resolver=resolver, description=description, metadata={LINK: link}, directives=directives)


def links_of(schema: strawberry.Schema, tables: Mapping[str, Table], sure: Mapping[tuple[str, str], Sure]) -> Links:
    """What the planner has to know; `tables` are those of the types that are kept in the database, by name.

    Of a table's column it may be `sure` what it holds.
    """
    graphql: Any = schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no public way
    links: dict[tuple[str, str], Link] = {}
    for type_name, type_ in graphql.type_map.items():
        for name, field in getattr(type_, "fields", {}).items():
            definition = field.extensions.get(DEFINITION)
            if isinstance(definition, StrawberryField):
                link = _root(definition) if type_ is graphql.query_type else _link(definition, field)
                if link:
                    links[type_name, name] = link
    return Links(
        fields=links,
        tables=tables,
        row=attrgetter("row"),
        type_name=lambda value: value.__strawberry_definition__.name,
        taken=partial(_taken, schema),
        sure={
            (name, column): sure[table.name, column]
            for name, table in tables.items()
            for column in table.columns
            if (table.name, column) in sure
        },
    )


def _root(definition: StrawberryField) -> Root | None:
    """A root field's link: its own resolver, behind the permissions that it has, of which it must have some."""
    guards = [each for each in definition.extensions if isinstance(each, PermissionExtension)]
    resolver: Any = getattr(cast("Any", definition).base_resolver, "wrapped_func", None)
    if not guards or len(guards) < len(definition.extensions) or not inspect.iscoroutinefunction(resolver):
        return None
    permissions = tuple(permission.has_permission for guard in guards for permission in guard.permissions)
    return Root(partial(resolver, None), permissions)


def _link(definition: StrawberryField, field: GraphQLField) -> Link | None:
    if definition.extensions:
        return None
    if definition.is_basic_field:
        read = attrgetter(definition.python_name)
        type_ = cast("Any", get_named_type(cast("Any", field).type))
        return Leaf(read=read) if is_leaf_type(type_) else Part(read)
    return definition.metadata.get(LINK)


def _taken(schema: strawberry.Schema, field: GraphQLField) -> dict[str, Any]:
    """How Strawberry calls a field's arguments, and what it makes of enums, lists and inputs."""
    definition: StrawberryField = field.extensions[DEFINITION]
    options = {"scalar_registry": schema.schema_converter.scalar_registry, "config": schema.config}
    taken: dict[str, Any] = {}
    for argument in definition.arguments:
        name = schema.config.name_converter.from_argument(argument)
        type_ = cast("Any", field.args[name]).type
        leaf = isinstance(getattr(type_, "of_type", type_), GraphQLScalarType) and not isinstance(type_, GraphQLList)
        convert = None if leaf else partial(convert_argument, type_=argument.type, **options)
        taken[name] = argument.python_name, convert
    return taken
