"""Clients that misbehave, by plain sockets; and what the kernel counts of a server's process."""

import asyncio
import io
import os
import random
import socket
import struct
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from PIL import Image

from tests.servers import Server
from tests.together import Ask, saving


def noise(side: int) -> bytes:
    """A picture that no format makes smaller: three bytes for each of its pixels."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(side).randbytes(side * side * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def fresh() -> bytes:
    """A picture that no server has: it need not keep one twice."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (16, 16), os.urandom(768)).save(buffer, "PNG")
    return buffer.getvalue()


def request(server: Server, ask: Ask) -> bytes:
    """The bytes of a request after which the server closes the connection."""
    built = httpx.Request("POST", f"{server.url}/graphql", **{**ask, "headers": None})
    built.headers.update({**server.headers, **ask.get("headers", {}), "connection": "close"})
    lines = [b"POST /graphql HTTP/1.1", *(b"%s: %s" % pair for pair in built.headers.raw)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + built.read()


def upload(server: Server, content: bytes) -> bytes:
    """The bytes of a saveFix."""
    return request(server, saving(content))


async def send(server: Server, ask: Ask) -> tuple[dict[str, Any], float]:
    """Ask over a connection of its own; gives the answer and the seconds that it took."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    begun = time.monotonic()
    writer.write(request(server, ask))
    said = await reader.read()
    writer.close()
    return orjson.loads(said.partition(b"\r\n\r\n")[2]), time.monotonic() - begun


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), 30)


def reset(client: socket.socket) -> None:
    """Close with RST, as a client does that has crashed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def answer(client: socket.socket) -> bytes:
    """All that the server says until it closes; nothing where the connection is cut."""
    said = b""
    try:
        while piece := client.recv(65536):
            said += piece
    except ConnectionResetError:
        return b""
    return said


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
