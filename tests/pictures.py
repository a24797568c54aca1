"""Pictures as bytes: whole ones, and PNGs put together piece by piece."""

import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from PIL import Image

from graphql_server.pictures import Picture

ROOT = Path(__file__).parents[1]
LIMIT = 50_000_000
ORIENTATION = 0x0112
Inspect = Callable[[bytes], Awaitable[Picture]]


def noise(mode: str = "RGB", size: tuple[int, int] = (120, 80)) -> Image.Image:
    return Image.effect_noise(size, 80).convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """Write a grey PNG whose header says this size, whatever its chunks hold."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IEND", b"")])


def zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def exif(orientation: object) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


JPEG = saved(noise(), "JPEG")
