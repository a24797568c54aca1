"""The typed client that ariadne-codegen has written: ariadne-codegen --config ariadne-codegen.toml.

GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg PYTHONPATH=generated python typed.py
"""

import asyncio
import json
import os
from collections.abc import Awaitable
from pathlib import Path

from dataset_client import DatasetClient, SaveFixInput, Upload
from dataset_client.exceptions import GraphQLClientGraphQLMultiError
from dataset_client.images import ImagesImages


def connect(token: str) -> DatasetClient:
    # The second header tells the server that no page of another site has sent the form.
    headers = {"Authorization": f"Bearer {token}", "GraphQL-Require-Preflight": "1"}
    return DatasetClient(os.environ["GRAPHQL_URL"], headers)


async def pages(client: DatasetClient) -> list[ImagesImages]:
    """All pages of the list, to its end."""
    found = [(await client.images()).images]
    while found[-1].page_info.has_next_page:
        found.append((await client.images(after=found[-1].page_info.end_cursor)).images)
    return found


async def save(client: DatasetClient, model_degree: int) -> dict[str, str | int | None]:
    with Path(os.environ["PHOTO"]).open("rb") as photo:
        file = Upload(filename="lunch.jpg", content=photo, content_type="image/jpeg")
        # Pydantic's aliases: the names of the schema.
        fix = SaveFixInput(file=file, modelDegree=model_degree, confidence=0.97, userFixDegree=0)
        saved = (await client.save(fix)).save_fix
    assert saved
    return {"originalFileName": saved.image.original_file_name, "byteSize": saved.image.byte_size}


async def refusal(attempt: Awaitable[object]) -> object:
    """The code of the error that a call is answered with."""
    try:
        await attempt
    except GraphQLClientGraphQLMultiError as error:
        return (error.errors[0].extensions or {})["code"]
    raise AssertionError("no error")


async def main() -> None:
    async with connect(os.environ["TOKEN"]) as client, connect("a-stranger") as strangers:
        read = await pages(client)
        seen = {
            "title": (await client.untrained()).untrained.title,
            "pages": len(read),
            "names": [image.original_file_name for page in read for image in page.nodes],
            "saved": await save(client, 90),
            # 45 is no turn.
            "wrong": await refusal(save(client, 45)),
            "missing": await refusal(client.remove(pk=999_999_999)),
            "stranger": await refusal(strangers.untrained()),
        }
    print(json.dumps(seen))


asyncio.run(main())
