"""How lists are narrowed and ordered: the inputs, and the listings that they mean."""

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated

import strawberry

from graphql_server import datasets, filters, images
from graphql_server.errors import BadUserInput
from graphql_server.listings import Listing, Order
from graphql_server.schema.scalars import Degree


@strawberry.enum(description="The direction of a list.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="From the smallest to the largest.")
    DESC = strawberry.enum_value("DESC", description="From the largest to the smallest.")


@strawberry.enum(description="What images can be ordered by.")
class ImageOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The order in which they were saved.")
    CONFIDENCE = strawberry.enum_value("CONFIDENCE", description="The model's confidence.")
    ORIGINAL_FILE_NAME = strawberry.enum_value("ORIGINAL_FILE_NAME", description="The name of the uploaded file.")


@strawberry.enum(description="What datasets can be ordered by.")
class DatasetOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The order in which they were opened.")
    TITLE = strawberry.enum_value("TITLE", description="The title.")


@strawberry.input(description="An order for images.")
class ImageOrder:
    field: ImageOrderField = strawberry.field(
        default=ImageOrderField.CREATED_AT,
        description="What to order by; equal values are in the order of saving, in the same direction.",
    )
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="The direction.")


@strawberry.input(description="An order for datasets.")
class DatasetOrder:
    field: DatasetOrderField = strawberry.field(default=DatasetOrderField.CREATED_AT, description="What to order by.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="The direction.")


@strawberry.input(description="A range of confidences, both ends included.")
class ConfidenceRange:
    from_: float | None = strawberry.field(default=None, name="from", description="The smallest.")
    to: float | None = strawberry.field(default=None, description="The largest.")


@strawberry.input(description="A range of time; without a zone, a moment is in UTC.")
class DateTimeRange:
    from_: datetime | None = strawberry.field(default=None, name="from", description="The first moment, included.")
    before: datetime | None = strawberry.field(default=None, description="The end, not included.")


@strawberry.input(description="A text to look for.")
class TextFilter:
    equals: str | None = strawberry.field(default=None, description="The whole text, to the letter.")
    contains: str | None = strawberry.field(default=None, description="A part of the text, in any case.")


@strawberry.input(description="Narrows a list of datasets; what is left out or null narrows nothing.")
class DatasetFilter:
    title: TextFilter | None = strawberry.field(default=None, description="By title.")
    is_untrained: bool | None = strawberry.field(
        default=None, description="true: only the untrained dataset; false: only named ones."
    )


@strawberry.input(description="Narrows a list of images; what is left out or null narrows nothing.")
class ImageFilter:
    dataset_pk: int | None = strawberry.field(default=None, description="Images of this dataset.")
    exif_degree: list[Degree] | None = strawberry.field(default=None, description="Any of these EXIF turns.")
    model_degree: list[Degree] | None = strawberry.field(default=None, description="Any of these turns by the model.")
    user_fix_degree: list[Degree] | None = strawberry.field(
        default=None, description="Any of these turns by the reviewer."
    )
    model_was_wrong: bool | None = strawberry.field(
        default=None, description="true: the reviewer turned the image further; false: the model was right."
    )
    confidence: ConfidenceRange | None = strawberry.field(default=None, description="By the model's confidence.")
    original_file_name: TextFilter | None = strawberry.field(default=None, description="By the uploaded file's name.")
    created_at: DateTimeRange | None = strawberry.field(default=None, description="By the time of saving.")


DatasetFilterArgument = Annotated[
    DatasetFilter | None, strawberry.argument(description="Only the datasets that meet all of this.")
]
DatasetOrderArgument = Annotated[
    DatasetOrder | None, strawberry.argument(description="The order; by default the order of opening.")
]
ImageFilterArgument = Annotated[
    ImageFilter | None, strawberry.argument(description="Only the images that meet all of this.")
]
ImageOrderArgument = Annotated[
    ImageOrder | None, strawberry.argument(description="The order; by default the order of saving.")
]


IMAGE_ORDERS = {
    ImageOrderField.CREATED_AT: images.CREATED,
    ImageOrderField.CONFIDENCE: images.CONFIDENCE,
    ImageOrderField.ORIGINAL_FILE_NAME: images.NAME,
}
DATASET_ORDERS = {DatasetOrderField.CREATED_AT: datasets.CREATED, DatasetOrderField.TITLE: datasets.TITLE}

ALL_DATASETS = Listing(datasets.TABLE, datasets.CREATED)
ALL_IMAGES = Listing(images.TABLE, images.CREATED)


def dataset_listing(filter: DatasetFilter | None, order_by: DatasetOrder | None) -> Listing:
    order = _turned(DATASET_ORDERS[order_by.field], order_by.direction) if order_by else datasets.CREATED
    if filter is None:
        return Listing(datasets.TABLE, order) if order_by else ALL_DATASETS
    title = filter.title or TextFilter()
    return Listing(
        datasets.TABLE,
        order,
        datasets.conditions(title=title.equals, title_contains=title.contains, is_untrained=filter.is_untrained),
    )


def image_listing(filter: ImageFilter | None, order_by: ImageOrder | None) -> Listing:
    order = _turned(IMAGE_ORDERS[order_by.field], order_by.direction) if order_by else images.CREATED
    if filter is None:
        return Listing(images.TABLE, order) if order_by else ALL_IMAGES
    confidence = filter.confidence or ConfidenceRange()
    name = filter.original_file_name or TextFilter()
    created = filter.created_at or DateTimeRange()
    narrowed = filters.ImageFilter(
        exif_degree=filter.exif_degree,
        model_degree=filter.model_degree,
        user_fix_degree=filter.user_fix_degree,
        model_was_wrong=filter.model_was_wrong,
        confidence_from=confidence.from_,
        confidence_to=confidence.to,
        original_file_name=name.equals,
        original_file_name_contains=name.contains,
        created_from=_utc(created.from_),
        created_before=_utc(created.before),
    )
    return Listing(images.TABLE, order, narrowed.conditions())


def _turned(order: Order, direction: OrderDirection) -> Order:
    return order.reversed if direction is OrderDirection.DESC else order


def _utc(value: datetime | None) -> datetime | None:
    """A moment without a zone is taken as UTC."""
    if value is None:
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise BadUserInput(f"{value.isoformat()} is out of range: in UTC, its year is not from 1 to 9999.") from None
