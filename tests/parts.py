"""A client that takes answers in parts, operations for it, and how it puts parts together: as specified.

https://specs.apollo.dev/incremental/v0.2/
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import orjson

from tests.servers import Server

# What is put off stands behind the rest, so that the parts put together have the whole answer's order.
QUERIES = {
    "a fragment": "{ datasets { nodes { title ... @defer { images(first: 2) { nodes { originalFileName } } } } } }",
    "a fragment with a name": """{ datasets { nodes { pk ...Pictures @defer(label: "pictures") } } }
        fragment Pictures on Dataset { images(first: 3) { totalCount nodes { url } pageInfo { hasNextPage } } }""",
    "all": "{ ... @defer { datasets { nodes { pk } } untrained { title } } }",
    "fragments in fragments": """{ untrained { pk ... @defer { title ... @defer { images(first: 3) {
        nodes { pk ... @defer { originalFileName } } } } } } }""",
    "two fragments of the same": """{ untrained { pk ... @defer(label: "a") { images { totalCount } }
        ... @defer(label: "b") { images { totalCount nodes { pk } } } } }""",
    "a page": """{ images(first: 240) { nodes @stream(initialCount: 10) {
        pk originalFileName url dataset { title } } } }""",
    "a page from nothing on": "{ images(first: 240) { edges @stream { cursor node { pk } } } }",
    "a page in its first items": "{ images(first: 20) { nodes @stream(initialCount: 20) { pk } } }",
    "nothing": '{ images(filter: {originalFileName: {equals: "x"}}) { nodes @stream { pk } } }',
    "a page from the end": "{ images(last: 150) { pageInfo { startCursor } edges @stream { node { pk } } } }",
    "a page and its place": """{ images(first: 150) { pageInfo { endCursor hasNextPage hasPreviousPage }
        nodes @stream { pk } } }""",
    "a page and its place, deferred": """{ images(first: 150) { nodes @stream(initialCount: 5) { pk }
        ... @defer { pageInfo { endCursor hasNextPage } totalCount } } }""",
    "a page in a deferred fragment": """{ ... @defer { images(first: 150) { nodes @stream(initialCount: 5) { pk }
        pageInfo { endCursor hasNextPage } } } }""",
    "both forms of a page": """{ images(first: 150) { nodes @stream(initialCount: 2) { pk }
        edges @stream(initialCount: 5) { cursor } } }""",
    "pages in a page": "{ datasets { nodes @stream(initialCount: 1) { pk images(first: 2) { nodes { pk } } } } }",
    "streams in a stream": """{ datasets(first: 3) { nodes @stream { pk images(first: 120) {
        nodes @stream(initialCount: 1) { pk ... @defer { sha256 } } } } } }""",
    "objects by their ids": '{ nodes(ids: ["SW1hZ2U6MQ==", "SW1hZ2U6OTk5OTk=", "RGF0YXNldDox"]) @stream { id } }',
    "an error": '{ untrained { pk ... @defer { images(after: "x") { totalCount } } } }',
    "an error in a list": """{ _entities(representations: [{__typename: "Dataset", pk: 1}, {__typename: "X"}])
        @stream(initialCount: 1) { ... on Dataset { pk } } }""",
    "an error after others": """{ untrained { pk ... @defer { title }
        ... @defer { images(first: 1001) { totalCount } } } }""",
}
# What Apollo Client 4 sends with its handler of GraphQL 17.
ACCEPT = "multipart/mixed;incrementalSpec=v0.2,application/graphql-response+json,application/json;q=0.9"
TYPE = "multipart/mixed;boundary=graphql;incrementalSpec=v0.2"
# 2 kB for each image.
MUCH = " ".join(f"url{number}: url" for number in range(20))


@contextmanager
def parting(server: Server, query: str, variables: dict[str, Any] | None = None) -> Generator[httpx.Response]:
    """The response as it comes."""
    body, headers = {"query": query, "variables": variables or {}}, {**server.headers, "accept": ACCEPT}
    with (
        httpx.Client(verify=False, timeout=30) as client,
        client.stream("POST", f"{server.url}/graphql", json=body, headers=headers) as response,
    ):
        yield response


def parts_of(content: bytes) -> list[dict[str, Any]]:
    """The bodies of a whole multipart response, whose form must be right to the letter."""
    begin, *parts, end = content.split(b"\r\n--graphql")
    assert end == b"--\r\n"
    head = b"Content-Type: application/json\r\n\r\n"
    bodies = [begin.removeprefix(b"--graphql\r\n"), *(part.removeprefix(b"\r\n") for part in parts)]
    assert begin.startswith(b"--graphql\r\n")
    assert all(body.startswith(head) for body in bodies)
    return [orjson.loads(body.removeprefix(head)) for body in bodies]


def ask(server: Server, query: str, variables: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    with parting(server, query, variables) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, TYPE), response.read()
        return parts_of(response.read())


class Merged:
    """What a client has after the parts that have come."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.data = first["data"]
        self.errors: list[Any] = list(first.get("errors", ()))
        self.pending: dict[str, list[str | int]] = {}
        self.seen = set[str]()
        self.has_next = True
        self._note(first)

    def take(self, part: dict[str, Any]) -> None:
        assert self.has_next, "nothing comes behind the last part"
        self._note(part)
        for piece in part.get("incremental", ()):
            place = self._place([*self.pending[piece["id"]], *piece.get("subPath", ())])
            self.errors += piece.get("errors", ())
            if "items" in piece:
                place += piece["items"]
            else:
                merge(place, piece["data"])
        for done in part.get("completed", ()):
            del self.pending[done["id"]]
            self.errors += done.get("errors", ())

    def _note(self, part: dict[str, Any]) -> None:
        for promised in part.get("pending", ()):
            assert promised["id"] not in self.seen
            self.seen.add(promised["id"])
            self.pending[promised["id"]] = promised["path"]
        self.has_next = part["hasNext"]

    def _place(self, path: list[str | int]) -> Any:
        place = self.data
        for key in path:
            place = place[key]
        return place


def merge(into: Any, data: Any) -> None:
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            if key in into and isinstance(value, (dict, list)):
                merge(into[key], value)
            else:
                into[key] = value
    else:
        for at, value in enumerate(data):
            merge(into[at], value)


def merged(parts: list[dict[str, Any]]) -> Merged:
    """All parts together; nothing may be left open."""
    first, *others = parts
    whole = Merged(first)
    for part in others:
        whole.take(part)
    assert not whole.has_next
    assert whole.pending == {}
    return whole


def told(errors: list[dict[str, Any]]) -> list[Any]:
    return sorted(([error["extensions"]["code"], error["path"], error["message"]] for error in errors), key=str)
