"""The two tables of the predecessor, with the columns that were added to them.

The models are for reading and writing; the tables, their constraints and their indexes are made by
`graphql_server.migrations`, because Tortoise leaves indexes out where a column has another name than its field.
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


class ImageInfo(Model):
    """A stored file with its degrees; what the predecessor did not record of its rows is NULL.

    `unique_sha256` is unique within a dataset; it is NULL for a copy that was asked for. `user_pk` is a key of the
    user server, which alone knows its users.
    """

    id = fields.IntField(primary_key=True, source_field="pk")
    dataset: fields.ForeignKeyRelation[DatasetInfo] = fields.ForeignKeyField(
        "datasets.DatasetInfo", related_name="images", source_field="dataset_info_pk"
    )
    original_file_name = fields.CharField(max_length=255, null=True)
    uuid_file_name = fields.CharField(max_length=64)
    exif_degree = fields.IntField(null=True)
    model_degree = fields.IntField(null=True)
    confidence = fields.FloatField(null=True)
    user_fix_degree = fields.IntField(null=True)
    content_type = fields.CharField(max_length=32, null=True)
    width = fields.IntField(null=True)
    height = fields.IntField(null=True)
    byte_size = fields.BigIntField(null=True)
    sha256 = fields.CharField(max_length=64, null=True)
    unique_sha256 = fields.CharField(max_length=64, null=True)
    created_at = fields.DatetimeField(null=True)
    user_pk = fields.IntField(null=True)

    class Meta(Model.Meta):
        table = "image_info"


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
