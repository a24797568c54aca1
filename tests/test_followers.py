"""Who follows changes: how many may, and what becomes of those who are gone, too slow, or at another worker."""

import ctypes
import socket
import struct
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from graphql_server.http import inlet, streams, transports
from tests.live import (
    CHANGES,
    IMAGES,
    MULTIPART,
    SSE,
    UPGRADE,
    Client,
    connected,
    events,
    following,
    masked,
    parts,
    streaming,
    welcome,
)
from tests.photos import photo
from tests.processes import server_of, settings_of, started, users_listening
from tests.rows import sql, untrained_pk
from tests.servers import TOKEN, Server, running, settings_for
from tests.together import CREATE
from tests.waiting import wait_until


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


@pytest.mark.parametrize(
    ("accept", "sign"),
    [(SSE, b":\n\n"), (MULTIPART, b"\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql")],
    ids=["events", "multipart"],
)
def test_a_stream_that_has_nothing_to_tell_gives_signs_of_life_and_then_what_comes(
    server: Server, monkeypatch: pytest.MonkeyPatch, accept: str, sign: bytes
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.1)
    with streaming(server, accept) as stream:
        pieces, came = stream.iter_bytes(), b""
        while came.count(sign) < 3:
            came += next(pieces)
        image = server.save(photo())
        while b'"pk":%d' % image["pk"] not in came:
            came += next(pieces)


def unplug(connection: socket.socket) -> None:
    """Have the kernel drop whatever comes, unanswered, as when the machine of a client is gone."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # Berkeley Packet Filter: return 0
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    connection.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


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
