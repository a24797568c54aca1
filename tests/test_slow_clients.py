"""Clients that are slow, or do nothing at all, are cut off and harm nobody meanwhile."""

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from graphql_server import migrations
from tests.nginx import fronting
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import KEY, Server

IDLE = 1000
SLOW = 25  # seconds: more than nginx and the server wait for headers (10) and the next piece of a body (20)
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
    assert all(took[who, "headers"] < 14 for who in ("nginx", "server")), took


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
        slowest = max(seconds_for(server) for _ in range(30))
        assert slowest < 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: open_files(process) <= before + 2)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def seconds_for(server: Server) -> float:
    began = time.monotonic()
    assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}
    return time.monotonic() - began
