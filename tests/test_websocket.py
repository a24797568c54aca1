"""The protocol graphql-transport-ws: who gets in, what is refused, and how a connection ends."""

import asyncio
import ctypes
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from graphql_server import datasets
from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from graphql_server.feed import Feed
from graphql_server.http import inlet, streams, transport_ws, transports
from graphql_server.logs import HARMLESS
from tests.chaos.mysql import await_lock, stranger
from tests.holdings import assert_whole, files_in
from tests.live import (
    CHANGES,
    IMAGES,
    MULTIPART,
    SSE,
    START,
    UPGRADE,
    Client,
    connected,
    events,
    following,
    masked,
    parts,
    streaming,
)
from tests.photos import photo
from tests.processes import server_of, settings_of, started, users_listening
from tests.rows import sql, untrained_pk
from tests.servers import TOKEN, Server, UserServer, running, settings_for
from tests.shared import sharing
from tests.together import CREATE, REMOVE
from tests.waiting import wait_until

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


def test_a_client_that_says_nothing_is_sent_away(quick: Server) -> None:
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


@pytest.mark.parametrize("gone", [True, False])
def test_a_mutation_that_has_begun_comes_to_its_end_whatever_its_client_does(
    server: Server, engine: str, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    image, committed = server.save(photo()), threading.Event()
    session: Any = {"mysql": MySQLSession, "sqlite": SqliteSession}[engine]
    commit = session.commit

    async def slowly(self: Any) -> None:
        await commit(self)
        committed.set()
        await asyncio.sleep(0.2)

    monkeypatch.setattr(session, "commit", slowly)
    with connected(server) as client:
        client.begin()
        client.subscribe(REMOVE, pk=image["pk"])
        assert committed.wait(30)
        if not gone:
            client.send(type="complete", id="1")
            client.subscribe(QUERY, "2")
            client.event("2")
    wait_until(lambda: files_in(server.settings.media_root) == {})


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_mutations_that_the_client_has_given_up_count_as_long_as_they_run(database_url: str, media_root: Path) -> None:
    settings = settings_for(database_url, media_root, live_subscriptions=2, database_seconds=30.0)
    with (
        running(settings) as server,
        connected(server) as client,
        closing(sqlite3.connect(database_url.removeprefix("sqlite://"))) as other,
    ):
        client.begin()
        other.execute("BEGIN IMMEDIATE")
        for number in range(2):
            client.subscribe(CREATE, title=str(number))
            client.send(type="ping")
            client.receive()
            time.sleep(0.3)  # until it waits for the database
            client.send(type="complete", id="1")
        client.subscribe(CREATE, title="2")
        time.sleep(0.3)
        other.rollback()  # They come to their end.
        assert client.closed()[0] == 4429


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_a_mutation_that_is_under_way_when_the_server_stops_is_done_and_told(
    database_url: str, media_root: Path
) -> None:
    with users_listening() as users:
        settings = settings_of(database_url, media_root, users)
        with (
            started(media_root.parent, "serve", **settings) as process,
            connected(server_of(process, settings)) as client,
        ):
            client.begin()
            with stranger(database_url) as other:
                other.run("SELECT pk FROM dataset_info FOR UPDATE")
                client.subscribe(CREATE, title="Lunch")
                await_lock(database_url)
                process.popen.terminate()
                time.sleep(0.3)
            assert client.event()["dataset"]["title"] == "Lunch"
            assert client.closed()[0] == 1001
            assert process.popen.wait(20) == 0


def test_a_server_that_stops_waits_for_no_subscription_and_begins_nothing_more(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, seal = Feed.check, datasets.seal

    async def late(feed: Feed, after: int) -> None:
        await asyncio.sleep(0.3)
        await check(feed, after)

    async def slowly(*args: Any) -> Any:
        await asyncio.sleep(0.6)
        return await seal(*args)

    monkeypatch.setattr(Feed, "check", late)
    monkeypatch.setattr(datasets, "seal", slowly)
    with ExitStack() as stack:
        with running(settings_for(database_url, media_root)) as server:
            client = stack.enter_context(connected(server))
            client.begin()
            client.subscribe(CREATE, "first", title="Lunch")
            client.subscribe(IMAGES, "second", after=START)
            apart = stack.enter_context(ThreadPoolExecutor(1))
            client.send(type="ping")
            client.receive()
            told = apart.submit(later, client)
        assert told.result() == (["Lunch"], 1001)
    assert_whole(server.settings)
    assert sql(server, "SELECT COUNT(*) FROM dataset_info WHERE title = 'Dinner'") == [(0,)]


def later(client: Client) -> tuple[list[str], int]:
    """Ask for another dataset when the server has been told to stop; gives the titles that are told, and the code."""
    time.sleep(0.2)
    client.subscribe(CREATE, "third", title="Dinner")
    told: list[dict[str, Any]] = []
    with pytest.raises(ConnectionClosed) as closed:
        told.extend(iter(client.receive, None))
    assert closed.value.rcvd
    answers = [message["payload"]["data"] for message in told if message["type"] == "next"]
    return [answer["createDataset"]["dataset"]["title"] for answer in answers], closed.value.rcvd.code


def test_who_follows_is_cut_off_when_the_token_dies(quick: Server) -> None:
    with following(quick) as client, streaming(quick, SSE) as stream, streaming(quick, MULTIPART) as multipart:
        del quick.user_server.users[TOKEN]
        assert client.closed() == (4403, "Forbidden: the token has died")
        *_, (_, data), end = list(events(stream))
        assert data["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert end == ("complete", None)
        *_, last = list(parts(multipart))
        assert (last["payload"], last["errors"][0]["extensions"]["code"]) == (None, "UNAUTHENTICATED")


def test_more_connections_than_a_worker_takes_are_sent_away(database_url: str, media_root: Path) -> None:
    with running(settings_for(database_url, media_root, live_connections=1)) as server, following(server) as client:
        server.save(photo())
        client.event()
        with connected(server) as other:
            assert other.closed()[0] == 1013
        with streaming(server, SSE) as stream:
            ((_, data), _) = list(events(stream))
            assert data["errors"][0]["extensions"]["code"] == "TOO_MANY_SUBSCRIPTIONS"
        with streaming(server, MULTIPART) as stream:
            (data,) = list(parts(stream))
            assert data["errors"][0]["extensions"]["code"] == "TOO_MANY_SUBSCRIPTIONS"
        with streaming(server, SSE, CREATE, title="Lunch") as stream:
            ((_, data), _) = list(events(stream))
            assert data["data"]["createDataset"]["dataset"]["title"] == "Lunch"  # which follows nothing
        client.socket.close()
        wait_until(lambda: welcome(server))


def test_a_client_that_has_gone_without_a_word_makes_room_for_another(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ws_ping_interval", "ws_ping_timeout"):
        monkeypatch.setitem(inlet.OPTIONS, name, 0.2)
    with (
        running(settings_for(database_url, media_root, live_connections=1)) as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 10) as dead,
    ):
        dead.sendall(UPGRADE + b"\r\n")
        assert b" 101 " in dead.recv(65536)
        with suppress(ConnectionError):  # it may have been given up already
            dead.sendall(masked(b'{"type":"connection_init","payload":{"access_token":"%b"}}' % TOKEN.encode()))
            while dead.recv(65536):  # it answers nothing, pings neither
                pass
        wait_until(lambda: welcome(server))


@pytest.mark.parametrize("accept", [SSE, MULTIPART])
@pytest.mark.parametrize("unplugged", [True, False])
def test_a_stream_whose_client_has_gone_makes_room_for_another(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch, accept: str, *, unplugged: bool
) -> None:
    """Without a word; or with one, but when it had asked for a second one behind the first."""
    monkeypatch.setattr(transports, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.2)
    with running(settings_for(database_url, media_root, live_connections=1)) as server:
        headers = {**server.headers, "accept": accept}
        request = httpx.Request("POST", f"{server.url}/graphql", json={"query": IMAGES}, headers=headers)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        sent = "\r\n".join(["POST /graphql HTTP/1.1", *lines, "", ""]).encode() + request.read()
        with socket.create_connection(("127.0.0.1", request.url.port or 80), 10) as dead:
            dead.sendall(sent if unplugged else sent * 2)
            assert b" 200 " in dead.recv(65536)
            if unplugged:
                unplug(dead)
            else:
                dead.close()
            wait_until(lambda: welcome(server))


def unplug(connection: socket.socket) -> None:
    """Have the kernel drop whatever comes, unanswered, as when the machine of a client is gone."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # Berkeley Packet Filter: return 0
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    connection.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


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


def welcome(server: Server) -> bool:
    """Whether there is room; a client may see the end of its connection before the server counts it as gone."""
    try:
        with connected(server) as client:
            client.begin()
    except ConnectionClosedError:
        return False
    return True


def storm(server: Server, count: int) -> None:
    """As many changes at one go."""
    pk = untrained_pk(server)
    row = f"('IMAGE_REMOVED', {pk}, 1, '2026-11-26 00:00:00')"
    insert = "INSERT INTO dataset_change (kind, dataset_info_pk, image_info_pk, created_at) VALUES "
    sql(server, insert + ", ".join([row] * count))


def test_who_takes_changes_too_slowly_is_told_and_can_begin_again_where_it_was(
    database_url: str, media_root: Path
) -> None:
    with running(settings_for(database_url, media_root, live_buffer=10)) as server:
        server.save(photo())
        with following(server, CHANGES) as client:
            first = client.event()
            storm(server, 5000)
            seen = [first["cursor"]]
            while (message := client.receive())["type"] == "next":
                seen.append(message["payload"]["data"]["datasetChanged"]["cursor"])
            assert message["payload"][0]["extensions"]["code"] == "TOO_SLOW"
        while len(seen) < 5001:
            with following(server, CHANGES, after=seen[-1]) as client:
                while (message := client.receive())["type"] == "next" and len(seen) < 5001:
                    seen.append(message["payload"]["data"]["datasetChanged"]["cursor"])
                    if len(seen) == 5001:
                        break
        assert len(set(seen)) == 5001


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_what_one_worker_saves_is_told_by_all_and_all_end_well(database_url: str, media_root: Path) -> None:
    with users_listening() as users:
        settings = {**settings_of(database_url, media_root, users), "WORKERS": "2"}
        with started(media_root.parent, "serve", **settings) as process:
            server = server_of(process, settings)
            clients: list[Client] = []
            opened = [following(server) for _ in range(8)]
            clients = [each.__enter__() for each in opened]
            with streaming(server, SSE) as stream:
                told = events(stream)
                saved = [server.save(photo())["pk"] for _ in range(6)]
                for client in clients:
                    assert [client.event()["image"]["pk"] for _ in saved] == saved
                assert [next(told)[1]["data"]["imageSaved"]["image"]["pk"] for _ in saved] == saved
                process.popen.terminate()
                assert [client.closed()[0] for client in clients] == [1001] * 8
                assert list(told) == []
            assert process.popen.wait(20) == 0
            lines = [line for line in process.log() if line["event"] == "websocket"]
            assert {line["code"] for line in lines} == {1001}
            assert TOKEN not in process.output.read_text()
