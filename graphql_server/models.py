"""The predecessor's two tables, with the columns that were added to them.

Whatever is asked of a table names its columns by `columns_of`. The tables themselves, their constraints and their
indexes are made by `graphql_server.migrations`, because Tortoise leaves indexes out where a column has another name
than its field.
"""

from datetime import UTC, datetime
from typing import Any, cast

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

    `user_pk` is who saved it, by the user server's word. `unique_sha256` is unique within a dataset; it is NULL for a
    copy that was asked for.
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
    created_at = fields.DatetimeField(null=True)
    user_pk = fields.IntField(null=True)
    unique_sha256 = fields.CharField(max_length=64, null=True)

    class Meta(Model.Meta):
        table = "image_info"


def columns_of(model: type[Model], *, without: str) -> tuple[str, ...]:
    """The columns of a model's table in the order of its fields, but for one that only the database looks at."""
    found: dict[str, Any] = cast("Any", model)._meta.fields_map  # noqa: SLF001 - Tortoise's own way to them
    columns = (field.source_field or name for name, field in found.items())
    return tuple(column for column in columns if column != without)


def moment(value: datetime | str | None) -> datetime | None:
    """A column's moment, in UTC: MySQL gives it without a zone, SQLite as text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value
