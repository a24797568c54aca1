"""gql, one request after another.

GRAPHQL_URL=http://127.0.0.1:8000/graphql TOKEN=… PHOTO=photo.jpg python gql_sync.py
"""

import json
import os
from typing import Any

from gql import Client, FileVar, GraphQLRequest
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport

UNTRAINED = "query Untrained { untrained { title } }"
IMAGES = """query Images($after: String) {
  images(first: 3, after: $after) {
    nodes { originalFileName }
    pageInfo { hasNextPage endCursor }
  }
}"""
SAVE = """mutation Save($input: SaveFixInput!) {
  saveFix(input: $input) { image { originalFileName byteSize } }
}"""
REMOVE = "mutation Remove { removeImage(input: {pk: 999999999}) { image { pk } } }"


def connect(token: str) -> Client:
    # The second header tells the server that no page of another site has sent the form.
    headers = {"Authorization": f"Bearer {token}", "GraphQL-Require-Preflight": "1"}
    return Client(transport=HTTPXTransport(os.environ["GRAPHQL_URL"], headers=headers))


def pages(client: Client) -> list[dict[str, Any]]:
    """All pages of the list, to its end."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        found.append(client.execute(GraphQLRequest(IMAGES, variable_values={"after": page["endCursor"]}))["images"])
        page = found[-1]["pageInfo"]
    return found


def save(client: Client) -> Any:
    file = FileVar(os.environ["PHOTO"], filename="lunch.jpg", content_type="image/jpeg")
    fix = {"file": file, "modelDegree": 90, "confidence": 0.97, "userFixDegree": 0}
    request = GraphQLRequest(SAVE, variable_values={"input": fix})
    return client.execute(request, upload_files=True)["saveFix"]["image"]


def refusal(client: Client, query: str) -> str:
    """The code of the error that a query is answered with."""
    try:
        client.execute(GraphQLRequest(query))
    except TransportQueryError as error:
        (code,) = (item["extensions"]["code"] for item in error.errors or [])
        return str(code)
    raise AssertionError("no error")


def main() -> None:
    client = connect(os.environ["TOKEN"])
    title = client.execute(GraphQLRequest(UNTRAINED))["untrained"]["title"]
    read = pages(client)
    seen = {
        "title": title,
        "pages": len(read),
        "names": [image["originalFileName"] for page in read for image in page["nodes"]],
        "saved": save(client),
        "missing": refusal(client, REMOVE),
        "stranger": refusal(connect("a-stranger"), UNTRAINED),
    }
    print(json.dumps(seen))


main()
