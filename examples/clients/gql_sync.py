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


def fix(model_degree: int) -> GraphQLRequest:
    file = FileVar(os.environ["PHOTO"], filename="lunch.jpg", content_type="image/jpeg")
    values = {"file": file, "modelDegree": model_degree, "confidence": 0.97, "userFixDegree": 0}
    return GraphQLRequest(SAVE, variable_values={"input": values})


def refusal(client: Client, request: GraphQLRequest) -> str:
    """The code of the error that a request is answered with."""
    try:
        client.execute(request, upload_files=request.variable_values is not None)
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
        "saved": client.execute(fix(90), upload_files=True)["saveFix"]["image"],
        # 45 is no turn.
        "wrong": refusal(client, fix(45)),
        "missing": refusal(client, GraphQLRequest(REMOVE)),
        "stranger": refusal(connect("a-stranger"), GraphQLRequest(UNTRAINED)),
    }
    print(json.dumps(seen))


main()
