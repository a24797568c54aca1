"""Requests as they go over the wire, well formed or not, and what must be true of a refusal."""

from typing import Any

import httpx
import orjson

from tests.photos import photo
from tests.servers import Server

RESPONSE = "application/graphql-response+json"
JSON = "application/json"
QUERY = "{ untrained { title } }"
ANSWER = {"data": {"untrained": {"title": "untrained"}}}
PREFLIGHT = {"graphql-require-preflight": "1"}


def send(server: Server, method: str = "POST", path: str = "/graphql", **others: Any) -> httpx.Response:
    headers = httpx.Headers(server.headers)
    headers.update(others.pop("headers", {}))
    with httpx.Client(verify=False) as client:
        return client.request(method, f"{server.url}{path}", headers=headers, timeout=30, **others)


def send_form(
    server: Server, operations: Any, places: Any, files: dict[str, Any] | None = None, **headers: str
) -> httpx.Response:
    """Send a form; what is no text is written as JSON."""
    texts = {"operations": operations, "map": places}
    parts = {
        name: (None, value if isinstance(value, bytes | str) else orjson.dumps(value))
        for name, value in texts.items()
        if value is not ...
    }
    given = {"0": ("photo.jpg", photo())} if files is None else files
    return send(server, files={**parts, **given}, headers=headers or PREFLIGHT)


def codes(answer: dict[str, Any]) -> list[str]:
    """The codes of an answer's errors."""
    return [error["extensions"]["code"] for error in answer.get("errors", ())]


def code(answer: httpx.Response) -> str:
    """The one code of an answer's errors."""
    (found,) = {error["extensions"]["code"] for error in answer.json()["errors"]}
    return found


def assert_refused(answer: httpx.Response, status: int, expected: str) -> None:
    assert (answer.status_code, code(answer)) == (status, expected), answer.text
    assert answer.headers["content-type"].partition(";")[0] in (JSON, RESPONSE)
    assert "data" not in answer.json()
    assert all(error["message"] for error in answer.json()["errors"])
