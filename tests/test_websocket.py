"""The protocol graphql-transport-ws: who gets in, what is refused, and what ends an operation or a connection."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from graphql_server.http import transport_ws
from graphql_server.logs import HARMLESS
from tests.live import IMAGES, MULTIPART, SSE, UPGRADE, connected, events, following, masked, parts, streaming
from tests.servers import TOKEN, Server, UserServer
from tests.shared import sharing

QUERY = "{ untrained { title } }"


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory, auth_cache_seconds=0.0, cors_origins=("https://review.example",)) as server:
        yield server


@pytest.fixture
def quick(shared: Server) -> Generator[Server]:
    yield shared
    shared.token, shared.user_server.answer = TOKEN, None
    shared.user_server.users[TOKEN] = {"pk": 7}


def test_a_token_comes_by_a_header_of_the_handshake(quick: Server) -> None:
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"access_token": TOKEN}):
        with connected(quick, headers=headers) as client:
            client.begin()


@pytest.mark.parametrize(
    "payload",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer {TOKEN}"},
        {"access_token": TOKEN},
        {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    ],
)
def test_a_token_comes_by_the_payload_of_connection_init(quick: Server, payload: dict[str, Any]) -> None:
    with connected(quick, headers={}) as client:
        client.send(type="connection_init", payload=payload)
        assert client.receive() == {"type": "connection_ack"}
        client.subscribe(QUERY)
        assert client.event() == {"title": "untrained"}


@pytest.mark.parametrize(
    "payload", [None, {}, [], "x", {"Authorization": "Bearer nope"}, {"Authorization": 5}, {"headers": []}]
)
def test_a_stranger_is_forbidden(quick: Server, payload: object) -> None:
    with connected(quick, headers={}) as client:
        client.send(type="connection_init", payload=payload)
        code, reason = client.closed()
    assert (code, reason[:10]) == (4403, "Forbidden:")


def test_nobody_gets_in_while_the_user_server_is_away(quick: Server) -> None:
    quick.user_server.answer = httpx.ConnectError("refused")
    with connected(quick) as client:
        client.send(type="connection_init")
        assert client.closed()[0] == 1013


def test_queries_and_mutations_are_answered_and_completed(quick: Server) -> None:
    with connected(quick) as client:
        client.begin()
        client.subscribe(QUERY, "a")
        assert client.event("a") == {"title": "untrained"}
        assert client.receive() == {"type": "complete", "id": "a"}
        client.subscribe("mutation { removeImage(input: {pk: 999}) { image { pk } } }", "a")
        assert client.receive()["payload"]["errors"][0]["extensions"]["code"] == "NOT_FOUND"


VIOLATIONS: dict[str, tuple[list[Any], int]] = {
    "no JSON": (["{"], 4400),
    "no object": (["5"], 4400),
    "bytes": ([b"{}"], 4400),
    "no type": (["{}"], 4400),
    "an unknown type": ([{"type": "start", "id": "1", "payload": {"query": QUERY}}], 4400),
    "an operation before the acknowledgement": ([{"type": "subscribe", "id": "1", "payload": {"query": QUERY}}], 4401),
    "a large initialisation": ([{"type": "connection_init", "payload": {"a": "b" * 20_000}}], 4400),
    "two initialisations": ([{"type": "connection_init"}, {"type": "connection_init"}], 4429),
    "no id": ([{"type": "connection_init"}, {"type": "subscribe", "payload": {"query": QUERY}}], 4400),
    "an empty id": ([{"type": "connection_init"}, {"type": "subscribe", "id": "", "payload": {"query": QUERY}}], 4400),
    "a long id": (
        [{"type": "connection_init"}, {"type": "subscribe", "id": "1" * 256, "payload": {"query": QUERY}}],
        4400,
    ),
    "no query": ([{"type": "connection_init"}, {"type": "subscribe", "id": "1", "payload": {}}], 4400),
    "no payload": ([{"type": "connection_init"}, {"type": "subscribe", "id": "1"}], 4400),
    "an id twice": (
        [{"type": "connection_init"}, *[{"type": "subscribe", "id": "1", "payload": {"query": IMAGES}}] * 2],
        4409,
    ),
    "101 subscriptions": (
        [
            {"type": "connection_init"},
            *[{"type": "subscribe", "id": str(number), "payload": {"query": IMAGES}} for number in range(101)],
        ],
        4429,
    ),
    "more than a message may have": ([{"type": "connection_init"}, {"type": "ping", "payload": "x" * 1_100_000}], 1009),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_what_the_protocol_does_not_allow_closes_the_connection(quick: Server, violation: str) -> None:
    messages, expected = VIOLATIONS[violation]
    with connected(quick) as client:
        for message in messages:
            if isinstance(message, dict):
                client.send(**message)
            else:
                client.socket.send(message)
        assert client.closed()[0] == expected


def test_a_client_that_says_nothing_is_sent_away(quick: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_ws, "INIT_SECONDS", 0.1)
    with connected(quick) as client:
        assert client.closed() == (4408, "Connection initialisation timeout")


def test_a_user_server_that_takes_its_time_does_not_count_as_a_client_that_says_nothing(
    quick: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_ws, "INIT_SECONDS", 0.1)
    answer = UserServer.__call__

    async def late(users: UserServer, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.3)
        return answer(users, request)

    monkeypatch.setattr(UserServer, "__call__", late)
    with connected(quick) as client:
        client.begin()


@pytest.mark.parametrize("protocols", [("graphql-ws",), ("soap",)])
def test_other_protocols_are_refused(quick: Server, protocols: tuple[str, ...]) -> None:
    with connected(quick, *protocols) as client:
        assert client.closed()[0] == 4406


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("https://review.example", True),
        ("https://evil.example", False),
        ("https://review.example.evil", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_pages_of_known_origins_may_connect(quick: Server, origin: str, *, welcome: bool) -> None:
    if welcome:
        with connected(quick, headers={"Origin": origin, **quick.headers}) as client:
            client.begin()
        return
    with pytest.raises(InvalidStatus) as refused, connected(quick, headers={"Origin": origin}):
        pass
    assert refused.value.response.status_code == 403
    assert b"FORBIDDEN" in (refused.value.response.body or b"")


def test_a_page_of_the_server_itself_may_connect(quick: Server) -> None:
    with connected(quick, headers={"Origin": quick.url, **quick.headers}) as client:
        client.begin()


def test_an_operation_that_the_client_ends_is_ended_and_its_id_is_free(quick: Server) -> None:
    with connected(quick) as client:
        client.begin()
        client.subscribe(IMAGES)
        client.send(type="complete", id="1")
        client.send(type="complete", id="never begun")
        client.subscribe(QUERY)
        assert client.event() == {"title": "untrained"}


def test_who_follows_is_cut_off_when_the_token_dies(quick: Server) -> None:
    with following(quick) as client, streaming(quick, SSE) as stream, streaming(quick, MULTIPART) as multipart:
        del quick.user_server.users[TOKEN]
        assert client.closed() == (4403, "Forbidden: the token has died")
        *_, (_, data), end = list(events(stream))
        assert data["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert end == ("complete", None)
        *_, last = list(parts(multipart))
        assert (last["payload"], last["errors"][0]["extensions"]["code"]) == (None, "UNAUTHENTICATED")


FLOODS = {
    "pings": b"\x89\x80abcd",
    "pongs": b"\x8a\x80abcd",
    "pieces of a text": b"\x00\x80abcd",
    "texts": masked(b'{"type":"ping"}'),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_small_frames_closes_the_connection(
    quick: Server, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each costs the server far more than its sender: a quarter of a megabyte held all others up for a second."""
    with socket.create_connection(("127.0.0.1", int(quick.url.rpartition(":")[2])), 10) as flooding:
        flooding.sendall(UPGRADE + b"\r\n")
        assert b" 101 " in flooding.recv(65536)
        with suppress(ConnectionError):  # the server may have heard enough before all is sent
            flooding.sendall(b"\x01\x80abcd" * (kind == "pieces of a text") + FLOODS[kind] * 5000)
        received = b""
        with suppress(ConnectionError):
            while piece := flooding.recv(65536):
                received += piece
    assert b"\x03\xf0Too many frames" in received  # 1008
    quick.data(QUERY)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    # What any client causes, an earlier test's too, the log leaves out.
    assert [line for line in told if not line.startswith(HARMLESS)] == []
