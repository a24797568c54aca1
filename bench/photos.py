"""A photo of 60 KB, of which each that is sent is another."""

import io
import random
from typing import Any

from PIL import Image

from bench.load import NUMBER

BYTES = 60_000
SIZE = (1024, 768)


def photo() -> bytes:
    """A JPEG of noise under a gradient, as large as a photo of this size; its comment is NUMBER."""
    chance = random.Random(4)  # noqa: S311 - the same on every machine
    noise: Any = Image.frombytes("L", (SIZE[0] // 8, SIZE[1] // 8), chance.randbytes(SIZE[0] * SIZE[1] // 64))
    gradient: Any = Image.linear_gradient("L")
    picture = Image.merge("RGB", [noise.resize(SIZE), gradient.resize(SIZE), noise.resize(SIZE)])
    made = [encoded(picture, quality) for quality in range(20, 96)]
    return min(made, key=lambda content: abs(len(content) - BYTES))


def encoded(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, comment=NUMBER)
    return buffer.getvalue()
