"""The mutations: plain values out of an input, one call, and the result wrapped."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

import strawberry
from graphql import GraphQLError
from starlette.datastructures import UploadFile
from strawberry.federation.schema_directives import Cost
from strawberry.file_uploads import Upload
from strawberry.types import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from graphql_server import datasets, fixes
from graphql_server.fixes import Fix
from graphql_server.schema.context import Info
from graphql_server.schema.cost import FIX_COST
from graphql_server.schema.scalars import Degree
from graphql_server.schema.types import Dataset, Image, datasets_of

IDEMPOTENCY = (
    "A text of the client's choice, 1 to 255 printable ASCII characters. A request that is sent again with the same "
    "one has its effect only once; a different request with it is a CONFLICT."
)


T = TypeVar("T")


def _plain(kind: type[T]) -> type[T]:
    """Have an input made of its values as they come; Strawberry looks at the type and name of each, every time."""
    definition = get_object_definition(kind, strict=True)
    names = {to_camel_case(field.python_name): field.python_name for field in definition.fields}

    def made(kind: type[T], given: Mapping[str, Any], _context: object) -> T:
        return kind(**{names[name]: value for name, value in given.items()})

    definition.from_input = made
    return kind


@strawberry.enum(description="What to do with a photo that the untrained dataset has already, byte for byte.")
class OnDuplicate(Enum):
    RETURN_EXISTING = strawberry.enum_value(
        "RETURN_EXISTING",
        description="Save nothing, and give the image that is there, with the degrees it was saved with.",
    )
    REJECT = strawberry.enum_value("REJECT", description="Save nothing, and answer CONFLICT.")
    ALLOW = strawberry.enum_value("ALLOW", description="Save another copy.")


@strawberry.input(description="The title for the untrained dataset.")
class CreateDatasetInput:
    title: str = strawberry.field(
        description="1 to 100 characters, not 'untrained' in any case, not another dataset's; outer spaces are removed."
    )
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY)


@strawberry.type(description="The dataset that was named and the fresh one.")
class CreateDatasetPayload:
    dataset: Dataset = strawberry.field(description="The dataset that has the title now.")
    untrained: Dataset = strawberry.field(description="The fresh untrained dataset.")


@strawberry.input(description="Which image to remove.")
class RemoveImageInput:
    pk: int = strawberry.field(description="The image's key.")


@strawberry.type(description="The image that was removed.")
class RemoveImagePayload:
    image: Image = strawberry.field(description="The image as it was; its url does not work any more.")
    dataset: Dataset = strawberry.field(description="The dataset that it was in.")


@_plain
@strawberry.input(description="A photo with the model's guess and the reviewer's fix; turns are counter-clockwise.")
class SaveFixInput:
    file: Upload = strawberry.field(
        description="The photo, a JPEG, PNG or WebP; it is stored unchanged, EXIF included.",
        directives=[Cost(weight=FIX_COST)],
    )
    original_file_name: str | None = strawberry.field(
        default=None, description="Up to 255 characters; by default the name of the uploaded file."
    )
    exif_degree: Degree | None = strawberry.field(
        default=None,
        description="The turn that the photo's EXIF asks for, kept as sent; by default it is read from the file.",
    )
    model_degree: Degree = strawberry.field(description="The turn that the model asks for after EXIF is applied.")
    confidence: float = strawberry.field(description="The model's confidence, from 0 to 1.")
    user_fix_degree: Degree = strawberry.field(description="The reviewer's turn on top of the model's.")
    on_duplicate: OnDuplicate | None = strawberry.field(
        default=OnDuplicate.RETURN_EXISTING,
        description="What to do if the untrained dataset has this photo already.",
    )
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY)


@strawberry.type(description="What became of a fix.")
class SaveFixPayload:
    image: Image = strawberry.field(description="The image that was saved, or that was there already.")
    created: bool = strawberry.field(
        description="Whether the image is new: false for a photo that was there, and for a request that is sent again."
    )


@strawberry.type(description="What can be changed.")
class Mutation:
    @strawberry.mutation(description="Give the untrained dataset a title, and open a fresh one.")
    async def create_dataset(
        self,
        info: Info,
        input: Annotated[CreateDatasetInput, strawberry.argument(description="The title.")],
    ) -> CreateDatasetPayload | None:
        database, user = info.context.album.database, await info.context.user()
        sealed, opened = await datasets.seal(database, input.title, input.idempotency_key, user.pk)
        info.context.changed()
        return CreateDatasetPayload(dataset=Dataset(row=sealed), untrained=Dataset(row=opened))

    @strawberry.mutation(description="Remove an image, of whichever dataset, and its file.")
    async def remove_image(
        self, info: Info, input: Annotated[RemoveImageInput, strawberry.argument(description="Which one.")]
    ) -> RemoveImagePayload | None:
        image = Image(row=await info.context.album.remove_image(input.pk))
        info.context.changed()
        (dataset,) = await datasets_of(info, [image.value("dataset_info_pk")])
        return RemoveImagePayload(image=image, dataset=dataset)

    @strawberry.mutation(description="Save a photo with its fix into the untrained dataset.")
    async def save_fix(
        self, info: Info, input: Annotated[SaveFixInput, strawberry.argument(description="The fix.")]
    ) -> SaveFixPayload | None:
        payload = await _save(info, input)
        info.context.changed()
        return payload

    @strawberry.mutation(
        description="Save many photos with their fixes, in order. One whose file, name, confidence or key is refused "
        "is null and has an error with its index; a number that is no Degree fails the request as a whole."
    )
    async def save_fixes(
        self, info: Info, inputs: Annotated[list[SaveFixInput], strawberry.argument(description="The fixes.")]
    ) -> list[SaveFixPayload | None]:
        payloads = [await _save_or_error(info, input) for input in inputs]
        info.context.changed()
        # graphql-core raises an error that it finds in a list at that item's place.
        return cast("list[SaveFixPayload | None]", payloads)


async def _save(info: Info, input: SaveFixInput) -> SaveFixPayload:
    info.context.check_time()
    file = cast("UploadFile", input.file)
    name = input.original_file_name
    fix = Fix(
        original_file_name=(file.filename or "") if name is None else name,
        exif_degree=input.exif_degree,
        model_degree=input.model_degree,
        confidence=input.confidence,
        user_fix_degree=input.user_fix_degree,
        on_duplicate=fixes.OnDuplicate[(input.on_duplicate or OnDuplicate.RETURN_EXISTING).name],
        idempotency_key=input.idempotency_key,
        user_pk=(await info.context.user()).pk,
    )
    await file.seek(0)  # one file may be sent for several fixes
    saved = await info.context.album.save_fix(file, fix, info.context.until)
    return SaveFixPayload(image=Image(row=saved.row), created=saved.created)


async def _save_or_error(info: Info, input: SaveFixInput) -> SaveFixPayload | GraphQLError:
    try:
        return await _save(info, input)
    except Exception as error:  # noqa: BLE001 - a bug in one must not hide that the others are saved; it is masked later
        return GraphQLError(str(error), original_error=error)
