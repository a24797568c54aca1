"""The queries, and the two ways in which others refer to our objects: Relay's node and federation's entities."""

import asyncio
from typing import Annotated, Any, cast

import strawberry
from graphql import GraphQLError
from strawberry.federation.schema import FederationAny
from strawberry.federation.schema_directives import ListSize
from strawberry.types.unset import UNSET

from graphql_server.errors import BadUserInput, DatasetServerError
from graphql_server.schema.connections import (
    LARGEST_INT,
    LARGEST_PAGE,
    PAGE,
    SIZE,
    After,
    Before,
    Connection,
    First,
    Last,
    connect,
    span_of,
)
from graphql_server.schema.context import Info
from graphql_server.schema.lists import (
    DatasetFilterArgument,
    DatasetOrderArgument,
    ImageFilterArgument,
    ImageOrderArgument,
    dataset_listing,
    image_listing,
)
from graphql_server.schema.types import Dataset, Image, Node, pk_of

Entity = Annotated[Dataset | Image, strawberry.union("_Entity", description="What other subgraphs may refer to.")]
# A gateway sends none; of more than these only the number tells something.
MOST_MALFORMED = 100


@strawberry.type(description="What can be read.")
class Query:
    @strawberry.field(description="All datasets.", directives=[SIZE])
    async def datasets(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: DatasetFilterArgument = None,
        order_by: DatasetOrderArgument = None,
    ) -> Connection[Dataset]:
        listing = dataset_listing(filter, order_by)
        return (await connect(info, listing, [(span_of(listing, first, after, last, before), None)], Dataset))[0]

    @strawberry.field(description="The dataset with this key; null where there is none.")
    async def dataset(
        self, info: Info, pk: Annotated[int, strawberry.argument(description="The dataset's key.")]
    ) -> Dataset | None:
        # What a page of its images may prove need not be asked for.
        row = info.context.loaders.presume(pk) if 0 < pk <= LARGEST_INT else None
        return Dataset(row=row) if row else await load(info, "Dataset", pk)

    @strawberry.field(description="The open dataset, which fixes are saved into.")
    async def untrained(self, info: Info) -> Dataset:
        return Dataset(row=await info.context.loaders.source.untrained())

    @strawberry.field(description="All images of all datasets.", directives=[SIZE])
    async def images(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: ImageFilterArgument = None,
        order_by: ImageOrderArgument = None,
    ) -> Connection[Image]:
        listing = image_listing(filter, order_by)
        parent = filter.dataset_pk if filter else None
        return (await connect(info, listing, [(span_of(listing, first, after, last, before), parent)], Image))[0]

    @strawberry.field(description="The image with this key; null where there is none.")
    async def image(
        self, info: Info, pk: Annotated[int, strawberry.argument(description="The image's key.")]
    ) -> Image | None:
        return await load(info, "Image", pk)

    @strawberry.field(description="The object with this id; null where it is gone.")
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The object's id.")]
    ) -> Node | None:
        return await load(info, *pk_of(id))

    @strawberry.field(
        description="The objects with these ids, in the same order; null for each that is gone.",
        # A gateway cannot count the ids; without a size it would take the whole list for one object.
        directives=[
            ListSize(assumed_size=PAGE, slicing_arguments=UNSET, sized_fields=UNSET, require_one_slicing_argument=False)
        ],
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], strawberry.argument(description="The objects' ids.")],
    ) -> list[Node | None]:
        return cast("list[Node | None]", await load_many(info, [pk_of(id) for id in ids]))

    @strawberry.field(
        name="_entities",
        description="The objects that a gateway's representations stand for, in the same order.",
    )
    async def entities(
        self,
        info: Info,
        representations: Annotated[
            list[FederationAny], strawberry.argument(description="Each a __typename and an id or a pk.")
        ],
    ) -> list[Entity | None]:
        if len(representations) > LARGEST_PAGE:
            # To coerce so many took a while, and to read their keys takes as long again: let others in between.
            with info.context.pace.waiting():
                await asyncio.sleep(0)
        keys = _keys(representations)
        found = iter(await load_many(info, [key for key in keys if not isinstance(key, GraphQLError)]))
        # graphql-core raises an error that it finds in a list at that item's place.
        answer = [key if isinstance(key, GraphQLError) else next(found) for key in keys]
        return cast("list[Entity | None]", answer)


async def load(info: Info, type_name: str, pk: int) -> Any:
    return (await load_many(info, [(type_name, pk)]))[0]


async def load_many(info: Info, keys: list[tuple[str, int]]) -> list[Dataset | Image | None]:
    """The objects with these keys, each type by one statement and each key once."""
    loaders = info.context.loaders
    sets = {pk for name, pk in keys if name == "Dataset" and 0 < pk <= LARGEST_INT}
    pictures = {pk for name, pk in keys if name == "Image" and 0 < pk <= LARGEST_INT}
    rows = {("Dataset", row[0]): Dataset(row=row) for row in await loaders.datasets.load_many(sets) if row}
    rows |= {("Image", row[0]): Image(row=row) for row in await loaders.images.load_many(pictures) if row}
    return [rows.get(key) for key in keys]


def _keys(representations: list[Any]) -> list[tuple[str, int] | GraphQLError]:
    keys: list[tuple[str, int] | GraphQLError] = []
    malformed = 0
    for representation in representations:
        key = _key(representation)
        malformed += isinstance(key, GraphQLError)
        if malformed > MOST_MALFORMED:
            raise BadUserInput(f"More than {MOST_MALFORMED} representations are malformed.")
        keys.append(key)
    return keys


def _key(representation: object) -> tuple[str, int] | GraphQLError:
    """What a representation stands for, or what is wrong with it; fields beside the keys are the gateway's."""
    try:
        return _read(representation)
    except DatasetServerError as error:
        return GraphQLError(str(error), original_error=error)


def _read(representation: object) -> tuple[str, int]:
    if not isinstance(representation, dict):
        raise BadUserInput("A representation is an object.")
    fields = cast("dict[str, object]", representation)
    name, pk, id = (fields.get(key) for key in ("__typename", "pk", "id"))
    if name not in ("Dataset", "Image"):
        raise BadUserInput("A representation's __typename is Dataset or Image.")
    if isinstance(pk, int) and not isinstance(pk, bool):
        return str(name), pk
    if isinstance(id, str) and (key := pk_of(id))[0] == name:
        return key
    raise BadUserInput(f"A representation of {name} has its pk, a number, or its id.")
