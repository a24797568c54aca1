"""Nobody gets in whom the user server does not know: every root field asks it, also one added tomorrow."""

from typing import Any

import strawberry
from strawberry.permission import BasePermission, PermissionExtension
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField
from strawberry.types.unset import UNSET

from graphql_server.schema.context import Context

ROOTS = ("Query", "Mutation", "Subscription")


class IsAuthenticated(BasePermission):
    """Asks the user server; its refusal is raised as an error with the code that fits."""

    async def has_permission(self, source: Any, info: "strawberry.Info[Context, None]", **kwargs: Any) -> bool:
        await info.context.user()
        return True


class IsInTime(BasePermission):
    """Begins no field of a mutation for which there is no time left; that is raised as an error."""

    def has_permission(self, source: Any, info: "strawberry.Info[Context, None]", **kwargs: Any) -> bool:
        info.context.check_time()
        return True


# One for all root fields, so that an operation asks it once.
GUARD = PermissionExtension([IsAuthenticated()], use_directives=False)
CHANGING = PermissionExtension([IsAuthenticated(), IsInTime()], use_directives=False)


class GuardedSchema(strawberry.federation.Schema):
    """A schema whose root fields all ask for permission.

    The guard is put on here and not where a field is written, because the fields that federation adds
    (`_entities`, `_service`) are written nowhere, and because a field can then not be forgotten.
    """

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        fields = super().get_fields(type_definition)
        for field in fields:
            _leave_out(field)
        if type_definition.name in ROOTS:
            for field in fields:
                if not any(isinstance(extension, PermissionExtension) for extension in field.extensions):
                    field.extensions.append(CHANGING if type_definition.name == "Mutation" else GUARD)
        return fields


def _leave_out(field: StrawberryField) -> None:
    """Let an argument or input field that is None by default have no default in the schema.

    `= null` says no more, and composers refuse @listSize where the argument that slices has a default.
    """
    if field.default_value is None:
        field.default_value = UNSET
    for argument in field.arguments:
        if argument.default is None:
            argument.default = UNSET
