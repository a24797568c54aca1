"""The tables that change seldom, as models; images are read and written by statements, which cost a fraction.

The tables, their constraints and their indexes are made by `graphql_server.migrations`, because Tortoise leaves
indexes out where a column has another name than its field.
"""

from datetime import UTC, datetime

from tortoise import fields
from tortoise.models import Model


class DatasetInfo(Model):
    """A dataset. `untrained` is TRUE for the one open dataset and NULL for all others, and unique."""

    id = fields.IntField(primary_key=True, source_field="pk")
    title = fields.CharField(max_length=100, null=True)
    title_key = fields.CharField(max_length=300, null=True, unique=True)
    untrained = fields.BooleanField(null=True, unique=True)
    created_at = fields.DatetimeField(null=True)
    sealed_at = fields.DatetimeField(null=True)

    class Meta(Model.Meta):
        table = "dataset_info"


class IdempotencyKey(Model):
    """The hash of a key that a client sent along, and what its request did: the keys of rows, as a JSON list."""

    key = fields.CharField(max_length=64, primary_key=True, source_field="idempotency_key")
    fingerprint = fields.CharField(max_length=64)
    pks = fields.CharField(max_length=64)
    created_at = fields.DatetimeField()

    class Meta(Model.Meta):
        table = "idempotency_key"


def moment(value: datetime | str | None) -> datetime | None:
    """A column's moment, in UTC: MySQL gives it without a zone, SQLite as text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value
