"""Clients that read nothing of their answer, or do not close, are cut off and cost little."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graphql_server.app import media_app
from graphql_server.http import transports
from tests.chaos.clients import open_files
from tests.octets import memory, until_closed
from tests.processes import started
from tests.servers import listening
from tests.waiting import wait_until

MEGABYTE = 1024 * 1024

PICTURE = "1/00000000-0000-4000-8000-000000000000.jpg"
DEAF = 60


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


async def as_long_as_asked(request: Request) -> Response:
    return Response(bytes(int(request.url.path[1:])))


def test_who_reads_nothing_of_what_is_nearly_sent_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some of these, little is left that the kernel does not take: the server has said all, and could not end."""
    monkeypatch.setattr(transports, "STALL_SECONDS", 0.7)
    with (
        listening(Starlette(routes=[Route("/{path:path}", as_long_as_asked)])) as url,
        contextlib.ExitStack() as stack,
    ):
        before = open_files(os.getpid())
        for size in range(100_000, 400_000, 20_000):
            connection = stack.enter_context(asking(int(url.rpartition(":")[2]), path=str(size)))
            assert connection.recv(16, socket.MSG_PEEK)
        wait_until(lambda: open_files(os.getpid()) <= before + 15)


@pytest.mark.parametrize("asked", [b"GET /1 HTTP/1.1\r\nconnection: close\r\n\r\n", b"RUBBISH\r\n\r\n"])
def test_who_does_not_close_what_the_server_has_ended_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    monkeypatch.setattr("graphql_server.http.connections.LEFT_SECONDS", 0.3)
    with listening(Starlette(routes=[Route("/{path:path}", as_long_as_asked)])) as url:
        before = open_files(os.getpid())
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5) as connection:
            connection.sendall(asked)
            assert until_closed(connection)
            wait_until(lambda: open_files(os.getpid()) <= before + 1)


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
