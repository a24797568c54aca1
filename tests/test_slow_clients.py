"""Clients that are slow in sending, or do nothing at all, are cut off and harm nobody meanwhile."""

import contextlib
import gc
import resource
import select
import socket
import statistics
import threading
import time
from collections.abc import Generator
from pathlib import Path

import httpx
import orjson
import pytest

from graphql_server.http import bodies, inlet, protocol, requests
from graphql_server.settings import Settings
from tests import together
from tests.chaos.clients import open_files
from tests.nginx import fronting
from tests.octets import HEAD, memory, request, until_answered, until_closed
from tests.photos import photo
from tests.processes import Process
from tests.servers import KEY, TOKEN, Server, running, settings_for
from tests.waiting import wait_until

IDLE = 1000
SLOW = 30  # seconds: more than nginx and the server wait for headers (10) and the next piece of a body (20)
WAITING = 10
MEGABYTE = 1024 * 1024


def seconds_until_cut(port: int, start: bytes, drip: bytes) -> float:
    """Send a start and then a byte a second; gives when the server closed the connection."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as connection, contextlib.suppress(ConnectionError):
        connection.settimeout(1)
        connection.sendall(start)
        while time.monotonic() - began < SLOW:
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    break
            connection.sendall(drip)
    return time.monotonic() - began


def test_slow_headers_and_slow_bodies_are_cut_by_nginx_and_by_the_server_itself(
    served: tuple[Process, Server], tmp_path: Path
) -> None:
    process, server = served
    took: dict[tuple[str, str], float] = {}
    with fronting(tmp_path, server.settings.media_root, process.port, KEY) as front:
        kinds = {
            "nothing at all": (b"", b""),
            "headers": (b"POST /graphql HTTP/1.1\r\nx: ", b"a"),
            "a body": (HEAD + b"content-length: 100\r\n\r\n{", b""),
            "a body that drips": (HEAD + b"content-length: 100\r\n\r\n{", b" "),
            "a form": (
                HEAD.replace(b"application/json", b"multipart/form-data; boundary=b")
                + b"graphql-require-preflight: 1\r\n"
                + "".join(f"{name}: {value}\r\n" for name, value in server.headers.items()).encode()
                + b"content-length: 100\r\n\r\n--b\r\n",
                b"",
            ),
        }

        def measure(who: str, port: int, kind: str) -> None:
            took[who, kind] = seconds_until_cut(port, *kinds[kind])

        threads = [
            threading.Thread(target=measure, args=(who, port, kind))
            for who, port in (("nginx", front.port), ("server", process.port))
            for kind in kinds
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}
            time.sleep(0.2)
    assert {name: seconds for name, seconds in took.items() if seconds > SLOW - 2} == {}
    assert all(took[who, "headers"] < 18 for who in ("nginx", "server")), took


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("drip", [b"", b"\r\n"], ids=["once", "on and on"])
def test_a_client_that_sends_empty_lines_after_an_answer_is_cut(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch, drip: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 1.0)
    with (
        running(settings_for(database_url, media_root)) as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), 30) as connection,
    ):
        connection.sendall(request())
        until_answered(connection)
        connection.sendall(b"\r\n")
        began = time.monotonic()
        while not select.select([connection], [], [], 0.1)[0]:
            assert time.monotonic() - began < 10
            connection.sendall(drip)
        assert time.monotonic() - began > 0.9
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_broken_is_refused_at_once(served: tuple[Process, Server]) -> None:
    process, _ = served
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        time.sleep(0.2)
        connection.sendall(b"no length\r\n")
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert time.monotonic() - began < 5


def slowly(port: int, body: bytes, size: int, seconds: float) -> bytes:
    """Send a body in pieces of a size, with so many seconds between; gives what was answered until it was closed."""
    head = HEAD + f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 30) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(head)
        for at in range(0, len(body), size):
            connection.sendall(body[at : at + size])
            if select.select([connection], [], [], seconds)[0]:
                break
        return connection.recv(65536)
    return b""


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_body_that_drips_is_cut_and_one_that_comes_slowly_but_steadily_is_not(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 3)  # a busy machine may be long at a piece
    body = orjson.dumps({"query": "{ untrained { title } }"}).ljust(2000)
    with running(settings_for(database_url, media_root)) as server:
        port = int(server.url.rpartition(":")[2])
        assert slowly(port, body, 100, 0.17).startswith(b"HTTP/1.1 200 ")  # 3.4 seconds in all
        dripped = slowly(port, body, 1, 0.02)
        assert dripped.startswith(b"HTTP/1.1 408 ")
        assert b'"REQUEST_TIMEOUT"' in dripped


def test_1000_idle_connections_harm_nobody_and_leave_nothing(served: tuple[Process, Server]) -> None:
    process, server = served
    server.data("{ untrained { title } }")
    before = open_files(process.popen.pid)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * IDLE)), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), 10))
        # Connections of the test before may have been among the open files.
        wait_until(lambda: open_files(process.popen.pid) >= IDLE)
        # Half of them: the machine itself may hold one up.
        assert statistics.median(seconds_for(server) for _ in range(30)) < 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: open_files(process.popen.pid) <= before + 2)


def seconds_for(server: Server) -> float:
    began = time.monotonic()
    assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}
    return time.monotonic() - began


def test_a_form_of_many_files_keeps_a_mebibyte_of_them_in_memory(served: tuple[Process, Server]) -> None:
    process, server = served
    server.save(photo())
    before = memory(process)
    given = {**server.headers, "graphql-require-preflight": "1", "content-length": "120000000"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    head = HEAD.replace(b"application/json", b"multipart/form-data; boundary=b") + lines.encode()
    part = b'--b\r\ncontent-disposition: form-data; name="%d"; filename="a.jpg"\r\n\r\n%b\r\n'
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(head + b"\r\n")
        for number in range(60):
            connection.sendall(part % (number, bytes(MEGABYTE - 1000)))
        assert memory(process) - before < 20 * MEGABYTE


def saving(content: bytes) -> tuple[bytes, bytes]:
    """A whole request that saves a photo, in two halves; the first has the head."""
    asked = httpx.Request("POST", "http://here/graphql", **together.saving(content))
    body = asked.read()
    asked.headers["authorization"] = f"Bearer {TOKEN}"
    head = b"".join(b"%b: %b\r\n" % field for field in asked.headers.raw)
    return b"POST /graphql HTTP/1.1\r\n" + head + b"\r\n" + body[: len(body) // 2], body[len(body) // 2 :]


def in_memory(port: int) -> list[int]:
    """The bytes of bodies that have come to each connection of a server and that nobody has asked for."""
    connections = [each for each in gc.get_objects() if type(each) is protocol.Protocol]
    cycles = [each.cycle for each in connections if each.server and each.server[1] == port]
    return [len(cycle.body) for cycle in cycles if cycle and not cycle.response_complete]


@contextlib.contextmanager
def reading_one_form(settings: Settings, seconds: float) -> Generator[tuple[Server, int]]:
    """A server that has room for one form of 60 kB, and waits so long for it; its port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "FORMS_BYTES", 100_000)
        patch.setattr(requests, "FORM_SECONDS", seconds)
        with running(settings) as server:
            yield server, int(server.url.rpartition(":")[2])


@pytest.mark.parametrize("refused", [False, True])
def test_photos_that_cannot_be_saved_yet_are_left_to_the_kernel(
    database_url: str, media_root: Path, *, refused: bool
) -> None:
    """Also of those who were refused before they had sent all."""
    start, rest = HEAD + b"content-length: 20000\r\n\r\n" + b" " * 10_000, b" " * 10_000
    with (
        reading_one_form(settings_for(database_url, media_root), 60) as (server, port),
        contextlib.ExitStack() as stack,
    ):
        senders = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(WAITING + 1)]
        photos = [saving(photo().ljust(60_000)) for _ in senders]
        senders[0].sendall(photos[0][0])
        wait_until(lambda: in_memory(port) == [0])  # it has been read so far
        for sender, halves in zip(senders[1:], photos[1:], strict=True):
            if refused:
                sender.sendall(start)
                assert b'"UNAUTHENTICATED"' in sender.recv(65536)
                sender.sendall(rest)
            sender.sendall(b"".join(halves))
        wait_until(lambda: len(in_memory(port)) == WAITING + 1 and in_memory(port).count(0) == 1)
        assert max(in_memory(port)) <= inlet.HEAD_PIECE
        senders[0].sendall(photos[0][1])
        assert all(sender.recv(65536).startswith(b"HTTP/1.1 200 ") for sender in senders)
        assert server.data("{ images { totalCount } }") == {"images": {"totalCount": WAITING + 1}}


def test_nobody_waits_for_who_sends_a_photo_slowly(database_url: str, media_root: Path) -> None:
    with (
        reading_one_form(settings_for(database_url, media_root), 0.2) as (server, port),
        socket.create_connection(("127.0.0.1", port), 10) as slow,
    ):
        first, second = saving(photo().ljust(60_000))
        slow.sendall(first)
        wait_until(lambda: in_memory(port) == [0])
        server.save(photo())
        slow.sendall(second)
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")
