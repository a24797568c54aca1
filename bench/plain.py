"""What a save costs at least: a plain script that decodes, hashes, writes, syncs and inserts, with no server at all.

Usage: python -m bench.plain DATABASE_URL FOLDER PHOTO SECONDS whole|eighth; prints how many it has saved and its CPU
seconds. Photos are decoded as they are, or at an eighth of their size, as the server does it.
"""

import asyncio
import hashlib
import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import asyncmy
from PIL import Image

from bench.load import NUMBER

THREADS = 16
DECODED = {"whole": "as a whole", "eighth": "at an eighth"}
INSERT = (
    "INSERT INTO image_info (dataset_info_pk, original_file_name, uuid_file_name, exif_degree, model_degree, "
    "confidence, user_fix_degree, content_type, width, height, byte_size, sha256, unique_sha256, created_at) "
    "VALUES (1, 'photo.jpg', %s, 0, 90, 0.97, 0, 'image/jpeg', %s, %s, %s, %s, %s, NOW(6))"
)


def keep(folder: Path, photo: bytes, scale: str) -> tuple[object, ...]:
    """Decode, hash and write one photo so that it is on the disk; gives what the row says of it."""
    image = Image.open(io.BytesIO(photo))
    size = image.size
    if scale == "eighth":
        image.draft(None, (1, 1))
    image.load()
    digest = hashlib.sha256(photo).hexdigest()
    name = f"{uuid4()}.jpg"
    with (folder / name).open("xb") as file:
        file.write(photo)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return name, *size, len(photo), digest, digest


async def run(url: str, folder: Path, photo: bytes, seconds: float, scale: str) -> int:
    """Save different photos with so many threads for some seconds; gives their number."""
    parts = urlsplit(url)
    pool: Any = await cast("Any", asyncmy).create_pool(
        host=parts.hostname,
        port=parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=parts.path.lstrip("/"),
        autocommit=True,
        minsize=THREADS,
        maxsize=THREADS,
    )
    # A photo that is there already could not be inserted.
    end, begun, saved = time.monotonic() + seconds, time.time_ns() // 1_000_000 % 10**11, 0

    async def work(threads: ThreadPoolExecutor) -> None:
        nonlocal saved
        while time.monotonic() < end:
            saved += 1
            one = photo.replace(NUMBER, b"%12d" % (begun + saved))
            row = await asyncio.get_running_loop().run_in_executor(threads, keep, folder, one, scale)
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute(INSERT, row)

    with ThreadPoolExecutor(THREADS) as threads:
        await asyncio.gather(*(work(threads) for _ in range(THREADS)))
    pool.close()
    await pool.wait_closed()
    return saved


if __name__ == "__main__":
    url, folder, photo, seconds, scale = sys.argv[1:]
    saved = asyncio.run(run(url, Path(folder), Path(photo).read_bytes(), float(seconds), scale))
    print(saved, time.process_time())  # noqa: T201 - its answer
