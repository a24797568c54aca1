"""The two types, Dataset and Image, and what makes them nodes."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import ClassVar

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from graphql_server import datasets, images
from graphql_server.engines import Row
from graphql_server.errors import BadUserInput, NotFound
from graphql_server.listings import NONE
from graphql_server.models import moment
from graphql_server.pages import NOTHING
from graphql_server.schema.connections import SIZE, After, Before, Connection, First, Last, connect, span_of
from graphql_server.schema.context import Info
from graphql_server.schema.fields import Stored, column, derived, joint, part
from graphql_server.schema.lists import ImageFilterArgument, ImageOrderArgument, image_listing
from graphql_server.schema.scalars import Degree

ID = "The object's id, which no other object has; opaque."


def global_id(type_name: str, pk: int) -> strawberry.ID:
    return strawberry.ID(base64.b64encode(f"{type_name}:{pk}".encode()).decode())


def pk_of(id: str) -> tuple[str, int]:
    """The type's name and the key that a global id stands for; BadUserInput where it is none."""
    try:
        name, _, pk = base64.b64decode(id, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        name, pk = "", ""
    if name not in TABLES or not (pk.isascii() and pk.isdigit() and len(pk) <= 10):
        raise BadUserInput(f"'{id:.100}' is the id of no Dataset or Image.")
    return name, int(pk)


def upright(_info: Info, model_degree: int | None, user_fix_degree: int | None) -> int | None:
    if model_degree is None or user_fix_degree is None:
        return None
    return (model_degree + user_fix_degree) % 360


def address(info: Info, dataset_pk: int, file_name: str | None) -> str:
    return info.context.album.media.address(dataset_pk, file_name or "")


async def images_of(
    info: Info,
    dataset_pks: Sequence[int],
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: ImageFilterArgument = None,
    order_by: ImageOrderArgument = None,
) -> "list[Connection[Image]]":
    listing = image_listing(filter, order_by)
    span = span_of(listing, first, after, last, before)
    only = filter.dataset_pk if filter else None
    wanted = [(span, pk) for pk in dict.fromkeys(dataset_pks) if only in (None, pk)]
    found = await connect(info, listing, wanted, Image) if wanted else []
    if len(found) == len(dataset_pks):
        return found
    by_pk = {connection.parent: connection for connection in found}
    nothing = listing._replace(conditions=(NONE,))
    return [
        by_pk.get(pk) or Connection(listing=nothing, span=span, parent=pk, slice=NOTHING, make=Image)
        for pk in dataset_pks
    ]


async def datasets_of(info: Info, dataset_pks: Sequence[int]) -> "list[Dataset]":
    rows = await info.context.loaders.datasets.load_many(dataset_pks)
    if None in rows:
        raise NotFound(f"There is no dataset {dataset_pks[rows.index(None)]}.")
    return [Dataset(row=row) for row in rows if row]


@strawberry.interface(description="An object that can be fetched again by its id.")
class Node(Stored):
    row: strawberry.Private[Row]

    id: strawberry.ID = strawberry.field(description=ID)


@strawberry.federation.type(
    keys=["id", "pk"],
    description="A set of images. One is untrained and takes what is saved; all others have a title.",
)
class Dataset(Node):
    COLUMNS: ClassVar[tuple[str, ...]] = datasets.TABLE.columns

    id: strawberry.ID = column("pk", ID, partial(global_id, "Dataset"))
    pk: int = column("pk", "The key that the predecessor's clients know.")
    title: str = column("title", "The title; 'untrained' for the open dataset.", otherwise="")
    is_untrained: bool = column("untrained", "Whether this is the open dataset, which fixes are saved into.", bool)
    created_at: datetime | None = column(
        "created_at", "When it was opened; null where the predecessor did not record it.", moment
    )
    sealed_at: datetime | None = column(
        "sealed_at",
        "When it was given its title; null while it is open, and where that was not recorded.",
        moment,
    )
    images: Connection["Image"] = joint(images_of, "pk", "The dataset's images.", directives=[SIZE])


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
    COLUMNS: ClassVar[tuple[str, ...]] = images.TABLE.columns

    id: strawberry.ID = column("pk", ID, partial(global_id, "Image"))
    pk: int = column("pk", "The key that the predecessor's clients know.")
    original_file_name: str = column("original_file_name", "The name of the file as it was uploaded.", otherwise="")
    uuid_file_name: str = column("uuid_file_name", "The name of the file as it is stored.", otherwise="")
    exif_degree: Degree | None = column(
        "exif_degree", "The turn that the photo's EXIF asks for, 0 where that is mirrored; or the one that was sent."
    )
    model_degree: Degree | None = column(
        "model_degree",
        "The turn that the model asks for after EXIF is applied; 0 and 360 mean that the photo is upright already.",
    )
    confidence: float | None = column("confidence", "The model's confidence, from 0 to 1.")
    user_fix_degree: Degree | None = column(
        "user_fix_degree",
        "The reviewer's turn on top of the model's; 0 and 360 mean that the model was right.",
    )
    content_type: str | None = column(
        "content_type", "image/jpeg, image/png or image/webp; null until it is known of a predecessor's image."
    )
    width: int | None = column("width", "Pixels across, as stored; null until known.")
    height: int | None = column("height", "Pixels down, as stored; null until known.")
    byte_size: int | None = column("byte_size", "The file's size in bytes; null until known.")
    sha256: str | None = column("sha256", "The file's SHA-256 in hexadecimal; null until known.")
    created_at: datetime | None = column(
        "created_at", "When it was saved; null where the predecessor did not record it.", moment
    )
    upright_degree: Degree | None = derived(
        upright,
        ("model_degree", "user_fix_degree"),
        "The turn after EXIF that sets the photo upright: (modelDegree + userFixDegree) mod 360.",
    )
    url: str = derived(
        address,
        ("dataset_info_pk", "uuid_file_name"),
        "The address of the file; it is signed, and expires after a while.",
    )
    saved_by: User | None = part(
        lambda user_pk: None if user_pk is None else User(pk=user_pk),
        "Who saved it; null where the user server did not say, and for older images.",
        column="user_pk",
    )
    dataset: Dataset = joint(datasets_of, "dataset_info_pk", "The dataset that the image is in.")


TABLES = {"Dataset": datasets.TABLE, "Image": images.TABLE}
