"""The two scalars that the schema adds to GraphQL's: degrees and uploads."""

from typing import Any, NewType

import strawberry
from starlette.datastructures import UploadFile
from strawberry.file_uploads import Upload
from strawberry.types.scalar import ScalarDefinition

from graphql_server.errors import BadUserInput

TURNS = (0, 90, 180, 270, 360)

Degree = NewType("Degree", int)


def _degree(value: Any) -> int:
    # True is an int to Python and 90.0 equals 90; neither was meant as a number of degrees.
    if type(value) is not int or value not in TURNS:
        raise BadUserInput(f"A Degree is 0, 90, 180, 270 or 360, not {value!r}.")
    return value


def _upload(value: Any) -> UploadFile:
    if not isinstance(value, UploadFile):
        raise BadUserInput("An Upload is sent as a file of a multipart request.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Degree: strawberry.scalar(
        name="Degree",
        description="A turn counter-clockwise: 0, 90, 180, 270 or 360, which models send for 'already upright'.",
        # Rows of the predecessor may hold other numbers; they are given as they are.
        serialize=int,
        parse_value=_degree,
    ),
    Upload: strawberry.scalar(
        name="Upload",
        description="A file, sent as a part of a multipart request.",
        specified_by_url="https://github.com/jaydenseric/graphql-multipart-request-spec",
        parse_value=_upload,
    ),
}
