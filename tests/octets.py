"""What is sent to a server byte by byte, what it answers, and what it keeps of that."""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from tests.processes import Process
from tests.servers import TOKEN
from tests.waiting import wait_until

QUERY = b'{"query": "{ untrained { title } }"}'
MAX_REQUEST = 8_000_000
MEGABYTE = b"x" * 1_000_000
LENGTH = b"content-length: %d\r\n"
HEAD = b"POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
ANSWER = b'{"data":{"untrained":{"title":"untrained"}}'
CHUNKED = b"transfer-encoding: chunked\r\n"


def connect(process: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", process.port), 30)


def head(line: bytes = b"POST /graphql HTTP/1.1", *, token: str | None = TOKEN, more: bytes = b"") -> bytes:
    sent = b"authorization: Bearer %s\r\n" % token.encode() if token else b""
    return line + b"\r\nhost: here\r\n" + sent + more + b"\r\n"


def as_json(body: bytes) -> bytes:
    return b"content-type: application/json\r\n" + LENGTH % len(body)


def send(process: Process, pieces: Iterable[bytes]) -> tuple[int, bytes, int]:
    """Send until the server closes or all is sent; gives the status, the body, and how much was sent."""
    sent = 0
    with connect(process) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
        status, body = answer(connection)
    return status, body, sent


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """The next answer on a connection; 0 where it is closed without one."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return 0, received
            received += piece
        start, _, body = received.partition(b"\r\n\r\n")
        length = int(
            next(line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += connection.recv(65536)
        return int(start.split()[1]), body
    return 0, received


def code(body: bytes) -> str:
    (error,) = orjson.loads(body)["errors"]
    assert error["message"]
    return error["extensions"]["code"]


def assert_serves(process: Process) -> None:
    status, body, _ = send(process, [head(more=as_json(QUERY)), QUERY])
    assert (status, orjson.loads(body)) == (200, {"data": {"untrained": {"title": "untrained"}}})


def memory(process: Process) -> int:
    """The bytes that the process keeps in memory."""
    return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(process: Process) -> list[str]:
    """What the process has open; files that have no name any more are there as well."""
    found: list[str] = []
    for link in Path(f"/proc/{process.popen.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def temporary(process: Process) -> list[str]:
    return [name for name in open_files(process) if "(deleted)" in name]


def eventually_as_before(process: Process, before: int) -> None:
    """The number of open files is what it was, give or take connections that the server keeps to others."""
    wait_until(lambda: len(open_files(process)) <= before + 2 and not temporary(process))


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(MEGABYTE)):
        yield b"%x\r\n" % len(MEGABYTE) + MEGABYTE + b"\r\n"


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
