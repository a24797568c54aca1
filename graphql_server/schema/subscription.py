"""What can be followed: plain values out of the arguments, the feed's changes, and each wrapped."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import Enum
from typing import Annotated

import orjson
import strawberry

from graphql_server.changes import Kind
from graphql_server.errors import BadUserInput
from graphql_server.feed import Change
from graphql_server.schema.connections import is_key, parts_of
from graphql_server.schema.context import Info
from graphql_server.schema.types import Dataset, Image

CURSOR = "The change's place among all changes; opaque. Send it as `after` to go on after this change."
After = Annotated[
    str | None,
    strawberry.argument(
        description="The cursor of the last change that the client has seen: those after it come first, so that none "
        "is lost with a connection. Changes are kept for 7 days; CURSOR_EXPIRED says that some of those are gone."
    ),
]


@strawberry.enum(description="What happened to a dataset.")
class DatasetChange(Enum):
    OPENED = strawberry.enum_value("OPENED", description="It was opened, untrained.")
    SEALED = strawberry.enum_value("SEALED", description="It was given a title and closed.")
    IMAGE_SAVED = strawberry.enum_value("IMAGE_SAVED", description="An image was saved into it.")
    IMAGE_REMOVED = strawberry.enum_value("IMAGE_REMOVED", description="An image was removed from it.")


@strawberry.type(description="An image that was saved.")
class ImageSavedPayload:
    image: Image = strawberry.field(description="The image.")
    cursor: str = strawberry.field(description=CURSOR)


@strawberry.type(description="A dataset that was changed.")
class DatasetChangedPayload:
    change: DatasetChange = strawberry.field(description="What happened.")
    dataset: Dataset = strawberry.field(description="The dataset, as it is now.")
    image_pk: int | None = strawberry.field(description="The key of the image that was saved or removed.")
    cursor: str = strawberry.field(description=CURSOR)


@strawberry.type(description="What can be followed; over graphql-transport-ws, text/event-stream or multipart/mixed.")
class Subscription:
    @strawberry.subscription(
        description="Each image that is saved, through any server, once and in the order of saving; those that have "
        "been removed by then are left out."
    )
    async def image_saved(
        self,
        info: Info,
        dataset_pk: Annotated[
            int | None, strawberry.argument(description="Only images of this dataset; by default of any.")
        ] = None,
        after: After = None,
    ) -> AsyncGenerator[ImageSavedPayload, None]:
        return _saved(info, dataset_pk, await _key(info, after))

    @strawberry.subscription(
        description="Each change of a dataset, once and in order: it is opened or sealed, an image is saved or removed."
    )
    async def dataset_changed(
        self,
        info: Info,
        pk: Annotated[int | None, strawberry.argument(description="Only this dataset; by default any.")] = None,
        after: After = None,
    ) -> AsyncGenerator[DatasetChangedPayload, None]:
        return _changed(info, pk, await _key(info, after))


async def _saved(info: Info, dataset_pk: int | None, after: int | None) -> AsyncGenerator[ImageSavedPayload]:
    async with aclosing(_changes(info, dataset_pk, after)) as changes:
        async for change in changes:
            if change.kind is Kind.IMAGE_SAVED and change.image:
                yield ImageSavedPayload(image=Image(row=change.image), cursor=cursor_of(change.pk))


async def _changed(info: Info, dataset_pk: int | None, after: int | None) -> AsyncGenerator[DatasetChangedPayload]:
    async with aclosing(_changes(info, dataset_pk, after)) as changes:
        async for change in changes:
            yield DatasetChangedPayload(
                change=DatasetChange[change.kind.name],
                dataset=Dataset(row=change.dataset),
                image_pk=change.image_pk,
                cursor=cursor_of(change.pk),
            )


async def _changes(info: Info, dataset_pk: int | None, after: int | None) -> AsyncGenerator[Change]:
    """The changes of one dataset or of all; each is answered from what the feed has read, and from nothing older."""
    context = info.context
    async with aclosing(context.feed.follow(after)) as changes:
        async for change in changes:
            if change.dataset and dataset_pk in (None, change.dataset[0]):
                context.start()
                context.loaders.datasets.know(change.dataset[0], change.dataset)
                yield change


async def _key(info: Info, cursor: str | None) -> int | None:
    if cursor is None:
        return None
    after = key_of(cursor)
    await info.context.feed.check(after)
    return after


def cursor_of(pk: int) -> str:
    return base64.b64encode(orjson.dumps(["CHANGE", pk])).decode()


def key_of(cursor: str) -> int:
    """What `cursor_of` wrote; BadUserInput for anything else."""
    match parts_of(cursor):
        case ["CHANGE", int(pk)] if is_key(pk):
            return pk
        case _:
            raise BadUserInput(f"'{cursor:.100}' is no cursor of a change.")
