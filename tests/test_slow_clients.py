"""Clients that are slow, or do nothing at all, are cut off and harm nobody meanwhile."""

import asyncio
import contextlib
import gc
import resource
import select
import signal
import socket
import statistics
import struct
import threading
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graphql_server import migrations
from graphql_server.app import media_app
from graphql_server.http import bodies, inlet, protocol, requests, transports
from graphql_server.settings import Settings
from tests import together
from tests.nginx import fronting
from tests.photos import photo
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import KEY, TOKEN, Server, listening, running, settings_for
from tests.waiting import wait_until

IDLE = 1000
SLOW = 30  # seconds: more than nginx and the server wait for headers (10) and the next piece of a body (20)
ANSWER = b'{"data":{"untrained":{"title":"untrained"}}'
PICTURE = "1/00000000-0000-4000-8000-000000000000.jpg"
DEAF = 60
WAITING = 10
MEGABYTE = 1024 * 1024
HEAD = b"POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Process, Server]]:
    folder = tmp_path_factory.mktemp("slow")
    url = f"sqlite://{folder / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with users_listening() as users:
        settings = settings_of(url, folder / "media", users)
        with started(folder, "serve", **settings) as process:
            yield process, server_of(process, settings)


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


def request(padding: int = 0) -> bytes:
    body = orjson.dumps({"query": "{ untrained { title } }", "variables": {"padding": "x" * padding}})
    return HEAD + f"authorization: Bearer {TOKEN}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def until_answered(connection: socket.socket) -> bytes:
    received = b""
    while ANSWER not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def test_a_client_that_sends_empty_lines_after_an_answer_is_cut(served: tuple[Process, Server]) -> None:
    process, _ = served

    def dripping(drip: bytes) -> tuple[float, bytes]:
        with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
            connection.sendall(request())
            until_answered(connection)
            connection.sendall(b"\r\n")
            began = time.monotonic()
            connection.settimeout(1)
            received = b""
            while time.monotonic() - began < SLOW:
                with contextlib.suppress(TimeoutError):
                    received = connection.recv(65536)
                    break
                connection.sendall(drip)
            return time.monotonic() - began, received

    with ThreadPoolExecutor() as threads:
        for took, received in threads.map(dripping, (b"", b"\r\n")):
            assert 8 < took < 18
            assert received.startswith(b"HTTP/1.1 408 ")


def test_a_large_body_is_not_counted_as_the_head_that_follows_it(served: tuple[Process, Server]) -> None:
    process, _ = served
    follower = b"GET /healthz HTTP/1.1\r\nho"
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(request(40_000) + follower)
        assert until_answered(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"st: here\r\nconnection: close\r\n\r\n")
        received = until_closed(connection)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.count(b"HTTP/1.1") == 1
        assert b"connection: close" in received


REFUSED = {
    "no HTTP": b"RUBBISH\r\n\r\n",
    "a head of too many headers": b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    "a head that is too large": b"GET /healthz HTTP/1.1\r\na: " + b"b" * 40_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("requests", [1, 3])
def test_a_refusal_never_takes_the_place_of_the_answers_to_what_came_before(
    served: tuple[Process, Server], kind: str, requests: int
) -> None:
    process, _ = served
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
            connection.sendall(request() * requests + REFUSED[kind])
            received = until_closed(connection)
        assert received.count(b"HTTP/1.1 200 ") == received.count(ANSWER) == requests
        assert received.count(b"HTTP/1.1 ") == requests


@pytest.mark.parametrize("at_once", [False, True])
def test_a_head_without_an_end_is_refused_after_the_answer_to_what_came_before(
    served: tuple[Process, Server], *, at_once: bool
) -> None:
    process, _ = served
    with socket.create_connection(("127.0.0.1", process.port), 4) as connection:  # uvicorn itself would end it after 5
        with contextlib.suppress(ConnectionError):
            if at_once:
                process.popen.send_signal(signal.SIGSTOP)  # when it goes on, it is given all that has come
            connection.sendall(request() + b"GET / HTTP/1.1\r\na: ")
            for _ in range(20):
                connection.sendall(b"b" * 4096)
        process.popen.send_signal(signal.SIGCONT)
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(ANSWER) == 1


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


def test_what_came_behind_a_body_that_is_too_large_is_not_run(served: tuple[Process, Server]) -> None:
    process, server = served
    half = b"%x\r\n" % (MEGABYTE // 2) + b" " * (MEGABYTE // 2) + b"\r\n"
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(HEAD + f"authorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        connection.sendall(half * 2)
        time.sleep(0.2)
        connection.sendall(b"1\r\n \r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: here\r\nx-request-id: behind\r\n\r\n")
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.count(b"HTTP/1.1 ") == 1
    server.get("/healthz", **{"x-request-id": "after"})
    while not any(line.get("request_id") == "after" for line in process.log()):
        time.sleep(0.01)
    assert [line for line in process.log() if line["level"] == "error" or line.get("request_id") == "behind"] == []


def open_files(process: Process) -> int:
    return len(list(Path(f"/proc/{process.popen.pid}/fd").iterdir()))


def test_1000_idle_connections_harm_nobody_and_leave_nothing(served: tuple[Process, Server]) -> None:
    process, server = served
    server.data("{ untrained { title } }")
    before = open_files(process)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * IDLE)), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", process.port), 10))
        # Connections of the test before may have been among the open files.
        wait_until(lambda: open_files(process) >= IDLE)
        # Half of them: the machine itself may hold one up.
        assert statistics.median(seconds_for(server) for _ in range(30)) < 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: open_files(process) <= before + 2)


def seconds_for(server: Server) -> float:
    began = time.monotonic()
    assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}
    return time.monotonic() - began


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A folder of media that holds one picture of 17 MB."""
    root = tmp_path / "media"
    (root / PICTURE).parent.mkdir(parents=True)
    (root / PICTURE).write_bytes(b"\xff\xd8\xff" + bytes(17 * MEGABYTE))
    return root


def asking(port: int, takes: int = 4096, path: str = PICTURE) -> socket.socket:
    """A client that has asked for the picture, and whose kernel takes no more of it than that."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET /{path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
    return connection


def memory(process: Process) -> int:
    """The bytes of memory that a process holds."""
    pages = Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


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


def test_clients_that_do_not_read_a_picture_cost_little_memory_and_do_not_hold_the_end_up(
    picture: Path, tmp_path: Path
) -> None:
    settings = {"MEDIA_ROOT": str(picture), "SHUTDOWN_SECONDS": "1"}
    with started(tmp_path, "media", "--plain", **settings) as process, contextlib.ExitStack() as stack:
        before = memory(process)
        for _ in range(DEAF):
            connection = stack.enter_context(asking(process.port))
            assert connection.recv(16, socket.MSG_PEEK)
        time.sleep(0.5)
        assert memory(process) - before < DEAF * MEGABYTE / 2
        assert process.terminate() == 0


async def whole(_request: Request) -> Response:
    """An answer that is sent by one call, as GraphQL's are."""
    return Response(bytes(17 * MEGABYTE))


@pytest.mark.parametrize("kind", ["picture", "answer"])
def test_who_reads_nothing_is_cut_off_and_who_reads_slowly_is_not(
    picture: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(transports, "STALL_SECONDS", 2.0)
    app = media_app(picture, ()) if kind == "picture" else Starlette(routes=[Route("/{path:path}", whole)])
    with listening(app) as url:
        port = int(url.rpartition(":")[2])
        with asking(port) as deaf, asking(port, 256 * 1024) as slow:
            assert deaf.recv(16, socket.MSG_PEEK)
            assert slow.recv(16, socket.MSG_PEEK)
            read = 0
            while connections(port) == 2:
                time.sleep(0.1)
                read += len(slow.recv(256 * 1024))
                assert read < 17 * MEGABYTE
            assert len(until_closed(deaf)) < 4 * MEGABYTE
            assert read + len(until_closed(slow)) > 17 * MEGABYTE


def connections(port: int) -> int:
    """How many are open to a port, as the kernel tells."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(here.endswith(f":{port:04X}") and state == "01" for _, here, _, state, *_ in fields[1:])


def handles() -> int:
    """The open files and connections of this process, in which the server is."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def as_long_as_asked(request: Request) -> Response:
    return Response(bytes(int(request.url.path[1:])))


def test_who_reads_nothing_of_what_is_nearly_sent_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some of these, little is left that the kernel does not take: the server has said all, and could not end."""
    monkeypatch.setattr(transports, "STALL_SECONDS", 0.7)
    with (
        listening(Starlette(routes=[Route("/{path:path}", as_long_as_asked)])) as url,
        contextlib.ExitStack() as stack,
    ):
        before = handles()
        for size in range(100_000, 400_000, 20_000):
            connection = stack.enter_context(asking(int(url.rpartition(":")[2]), path=str(size)))
            assert connection.recv(16, socket.MSG_PEEK)
        wait_until(lambda: handles() <= before + 15)


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


def test_photos_that_cannot_be_saved_yet_are_left_to_the_kernel(database_url: str, media_root: Path) -> None:
    with (
        reading_one_form(settings_for(database_url, media_root), 60) as (server, port),
        contextlib.ExitStack() as stack,
    ):
        senders = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(WAITING + 1)]
        photos = [saving(photo().ljust(60_000)) for _ in senders]
        senders[0].sendall(photos[0][0])
        wait_until(lambda: in_memory(port) == [0])  # it has been read so far
        for sender, halves in zip(senders[1:], photos[1:], strict=True):
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


@pytest.mark.parametrize("asked", [b"GET /1 HTTP/1.1\r\nconnection: close\r\n\r\n", b"RUBBISH\r\n\r\n"])
def test_who_does_not_close_what_the_server_has_ended_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    monkeypatch.setattr("graphql_server.http.connections.LEFT_SECONDS", 0.3)
    with listening(Starlette(routes=[Route("/{path:path}", as_long_as_asked)])) as url:
        before = handles()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as connection:
            connection.sendall(asked)
            assert until_closed(connection)
            wait_until(lambda: handles() <= before + 1)


async def dripping(_request: Request) -> StreamingResponse:
    """A piece in every round of the event loop."""

    async def pieces() -> AsyncGenerator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0)

    return StreamingResponse(pieces())


def test_who_breaks_off_in_the_middle_of_an_answer_leaves_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with listening(Starlette(routes=[Route("/{path:path}", dripping)])) as url:
        for _ in range(10):
            with asking(int(url.rpartition(":")[2])) as connection:
                assert connection.recv(65536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
