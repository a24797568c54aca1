"""Who asks for a WebSocket and cannot have one is refused in JSON, at once, and is not kept."""

import socket
from collections.abc import Generator
from contextlib import suppress

import httpx
import orjson
import pytest

from tests.front_door import JSON, QUERY
from tests.live import UPGRADE
from tests.servers import Server
from tests.shared import sharing

KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


def sent(server: Server, request: bytes) -> bytes:
    """All that the server answers before it closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 80), 10) as connection:
        connection.sendall(request)
        while piece := connection.recv(65536):
            received += piece
    return received


def upgrade(old: bytes = b"", new: bytes = b"", path: bytes = b"/graphql") -> bytes:
    assert old in UPGRADE
    return UPGRADE.replace(old, new).replace(b"/graphql", path) + b"\r\n"


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no key": (upgrade(KEY), 400, "BAD_REQUEST"),
    "a key that is none": (upgrade(b"dGhlIHNhbXBsZSBub25jZQ==", b'"'), 400, "BAD_REQUEST"),
    "two keys": (upgrade(KEY, KEY * 2), 400, "BAD_REQUEST"),
    "no version": (upgrade(b"sec-websocket-version: 13\r\n"), 400, "BAD_REQUEST"),
    "another version": (upgrade(b"version: 13", b"version: 8"), 400, "BAD_REQUEST"),
    "a subprotocol that is none": (upgrade(b"graphql-transport-ws", b"@@"), 400, "BAD_REQUEST"),
    "a list that is none": (upgrade(b"connection: upgrade", b"connection: upgrade, ;="), 400, "BAD_REQUEST"),
    "two origins": (upgrade(KEY, KEY + b"origin: http://here\r\n" * 2), 400, "BAD_REQUEST"),
    "two protocols": (upgrade(b"upgrade: websocket", b"upgrade: h2c\r\nupgrade: websocket"), 426, "BAD_REQUEST"),
    "a long header": (upgrade(KEY, KEY + b"cookie: " + b"c" * 9000 + b"\r\n"), 431, "HEADERS_TOO_LARGE"),
    "a long address": (upgrade(path=b"/graphql?" + b"x" * 9000), 414, "HEADERS_TOO_LARGE"),
    "another page": (upgrade(KEY, KEY + b"origin: https://evil.example\r\n"), 403, "FORBIDDEN"),
    "another path": (upgrade(path=b"/healthz"), 404, "NOT_FOUND"),
    "no path of ours": (upgrade(path=b"/graphql/"), 404, "NOT_FOUND"),
    "a picture's path": (upgrade(path=b"/media/1/x.jpg"), 404, "NOT_FOUND"),
    "no path": (upgrade(path=b"*"), 403, "FORBIDDEN"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_handshake_that_fails_is_refused_in_json_and_ends_the_connection(shared: Server, kind: str) -> None:
    request, status, expected = REFUSED[kind]
    head, _, body = sent(shared, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-type")] == [
        b"content-type: " + JSON.encode()
    ]
    (error,) = orjson.loads(body)["errors"]
    assert error["extensions"]["code"] == expected
    assert error["message"]


def test_who_asks_for_a_websocket_before_an_answer_has_come_gets_only_the_answer(shared: Server) -> None:
    request = httpx.Request("POST", f"{shared.url}/graphql", json={"query": QUERY}, headers=shared.headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    received = sent(shared, b"POST /graphql HTTP/1.1\r\n" + head.encode() + b"\r\n" + request.read() + upgrade())
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b'{"data":{"untrained":{"title":"untrained"}}}')


def test_who_sends_no_frames_before_the_handshake_is_complete_is_broken_off(
    shared: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with suppress(ConnectionResetError):
        sent(shared, upgrade() + b"\xff" * 20_000)
    shared.data(QUERY)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
