"""The two types, Dataset and Image, and what makes them nodes."""

import base64
import binascii
from datetime import datetime

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from graphql_server.engines import Row
from graphql_server.errors import BadUserInput, NotFound
from graphql_server.models import moment
from graphql_server.pages import NONE, Listing
from graphql_server.schema.connections import SIZE, After, Before, Connection, First, Last, connect, span_of
from graphql_server.schema.context import Info
from graphql_server.schema.lists import ImageFilterArgument, ImageOrderArgument, image_listing
from graphql_server.schema.scalars import Degree


def global_id(type_name: str, pk: int) -> strawberry.ID:
    return strawberry.ID(base64.b64encode(f"{type_name}:{pk}".encode()).decode())


def pk_of(global_id: str) -> tuple[str, int]:
    """The type's name and the key that a global id stands for; BadUserInput where it is none."""
    try:
        name, _, pk = base64.b64decode(global_id, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, pk = "", ""
    if name not in ("Dataset", "Image") or not (pk.isascii() and pk.isdigit() and len(pk) <= 10):
        raise BadUserInput(f"'{global_id:.100}' is the id of no Dataset or Image.")
    return name, int(pk)


@strawberry.interface(description="An object that can be fetched again by its id.")
class Node:
    pk: strawberry.Private[int]

    @strawberry.field(description="The object's id among all objects; opaque.")
    def id(self) -> strawberry.ID:
        return global_id(type(self).__name__, self.pk)


@strawberry.federation.type(
    keys=["id", "pk"],
    description="A set of images. One is untrained and takes what is saved; all others have a title.",
)
class Dataset(Node):
    pk: int = strawberry.field(description="The key that the predecessor's clients know.")
    title: str = strawberry.field(description="The title; 'untrained' for the open dataset.")
    is_untrained: bool = strawberry.field(description="Whether this is the open dataset, which fixes are saved into.")
    created_at: datetime | None = strawberry.field(
        description="When it was opened; null where the predecessor did not record it."
    )
    sealed_at: datetime | None = strawberry.field(
        description="When it was given its title; null while it is open, and where that was not recorded."
    )

    @strawberry.field(description="The dataset's images.", directives=[SIZE])
    async def images(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: ImageFilterArgument = None,
        order_by: ImageOrderArgument = None,
    ) -> "Connection[Image]":
        listing = image_listing(filter, order_by)
        if filter and filter.dataset_pk not in (None, self.pk):
            listing = Listing(listing.table, listing.order, (NONE,))
        return await connect(info, listing, span_of(listing, first, after, last, before, self.pk), Image.of)

    @classmethod
    def of(cls, row: Row) -> "Dataset":
        pk, title, untrained, created_at, sealed_at = row
        return cls(
            pk=pk,
            title=title or "",
            is_untrained=bool(untrained),
            created_at=moment(created_at),
            sealed_at=moment(sealed_at),
        )


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("pk"), resolvable=False)],
    description="Somebody whom the user server knows; a gateway asks the subgraph of users for more.",
)
class User:
    pk: int = strawberry.field(description="The key that the user server gave.")


@strawberry.federation.type(
    keys=["id", "pk"],
    description="A stored photo with the model's and the reviewer's turns, all counter-clockwise.",
)
class Image(Node):
    pk: int = strawberry.field(description="The key that the predecessor's clients know.")
    dataset_pk: strawberry.Private[int]
    original_file_name: str = strawberry.field(description="The name of the file as it was uploaded.")
    uuid_file_name: str = strawberry.field(description="The name of the file as it is stored.")
    exif_degree: Degree | None = strawberry.field(description="The turn that the photo's EXIF orientation asks for.")
    model_degree: Degree | None = strawberry.field(
        description="The turn that the model asks for after EXIF is applied; 360 and 0 mean that it is upright."
    )
    confidence: float | None = strawberry.field(description="The model's confidence, from 0 to 1.")
    user_fix_degree: Degree | None = strawberry.field(
        description="The reviewer's turn on top of the model's; 0 and 360 mean that the model was right."
    )
    content_type: str | None = strawberry.field(
        description="image/jpeg, image/png or image/webp; null until it is known of a predecessor's image."
    )
    width: int | None = strawberry.field(description="Pixels across, as stored; null until known.")
    height: int | None = strawberry.field(description="Pixels down, as stored; null until known.")
    byte_size: int | None = strawberry.field(description="The file's size in bytes; null until known.")
    sha256: str | None = strawberry.field(description="The file's SHA-256 in hexadecimal; null until known.")
    created_at: datetime | None = strawberry.field(
        description="When it was saved; null where the predecessor did not record it."
    )
    user_pk: strawberry.Private[int | None]

    @strawberry.field(
        description="The turn after EXIF that sets the photo upright: (modelDegree + userFixDegree) mod 360."
    )
    def upright_degree(self) -> Degree | None:
        if self.model_degree is None or self.user_fix_degree is None:
            return None
        return Degree((self.model_degree + self.user_fix_degree) % 360)

    @strawberry.field(description="Where the file is to be had for a while; the address is signed.")
    def url(self, info: Info) -> str:
        return info.context.album.media.address(self.dataset_pk, self.uuid_file_name)

    @strawberry.field(description="Who saved it; null where the user server did not say, and for older images.")
    def saved_by(self) -> User | None:
        return None if self.user_pk is None else User(pk=self.user_pk)

    @strawberry.field(description="The dataset that the image is in.")
    async def dataset(self, info: Info) -> Dataset:
        return await self.load_dataset(info)

    async def load_dataset(self, info: Info) -> Dataset:
        row = await info.context.loaders.datasets.load(self.dataset_pk)
        if row is None:
            raise NotFound(f"There is no dataset {self.dataset_pk}.")
        return Dataset.of(row)

    @classmethod
    def of(cls, row: Row) -> "Image":
        pk, dataset_pk, original_file_name, uuid_file_name, exif, model, confidence, user_fix, *rest = row
        content_type, width, height, byte_size, sha256, created_at, user_pk = rest
        return cls(
            pk=pk,
            dataset_pk=dataset_pk,
            original_file_name=original_file_name or "",
            uuid_file_name=uuid_file_name or "",
            exif_degree=exif,
            model_degree=model,
            confidence=confidence,
            user_fix_degree=user_fix,
            content_type=content_type,
            width=width,
            height=height,
            byte_size=byte_size,
            sha256=sha256,
            created_at=moment(created_at),
            user_pk=user_pk,
        )
