"""Pictures that would cost too much memory or time are refused, and those that are only large are taken."""

import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from graphql_server.decoding import Decoder
from graphql_server.errors import ImageUnreadable
from tests.pictures import JPEG, ROOT, Inspect, chunk, noise, png, saved, zeros

pytestmark = pytest.mark.anyio


async def test_a_picture_of_exactly_the_limit_is_taken_and_one_pixel_more_is_not(tmp_path: Path) -> None:
    decoder = Decoder(1, 9600)
    for kind in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / kind
        noise(size=(120, 80)).save(path, kind)
        assert (await decoder.inspect(path)).width == 120
        noise(size=(9601, 1)).save(path, kind)
        with pytest.raises(ImageUnreadable, match="is 9601 x 1 pixels, more than the limit of 9600"):
            await decoder.inspect(path)
    decoder.close()


async def test_a_large_jpeg_and_a_large_png_within_the_limit_are_taken(inspect: Inspect) -> None:
    for kind in ("JPEG", "PNG"):
        picture = await inspect(saved(Image.new("L", (8000, 6000), 200), kind))
        assert (picture.width, picture.height) == (8000, 6000)


def text_bomb(name: bytes, start: bytes) -> bytes:
    return png(10, 10, chunk(name, start + zeros(100_000_000)), chunk(b"IDAT", zeros(110)))


BOMBS = {
    "13000 x 13000": png(13000, 13000, chunk(b"IDAT", zeros(13001 * 1300))),
    "50000 x 50000": png(50000, 50000, chunk(b"IDAT", zeros(50001 * 400))),
    "limit": b"RIFF\x1e\0\0\0WEBPVP8L\x12\0\0\0\x2f" + (16382 | 16382 << 14).to_bytes(4, "little") + bytes(13),
    "damaged": text_bomb(b"zTXt", b"k\0\0"),
    "damaged ": text_bomb(b"iTXt", b"k\0\1\0\0\0"),
    "damaged  ": text_bomb(b"iCCP", b"k\0\0"),
}


def test_bombs_are_refused_at_once_and_cost_no_memory(tmp_path: Path) -> None:
    for number, bomb in enumerate(BOMBS.values()):
        (tmp_path / f"{number}").write_bytes(bomb)
    program = """
import asyncio, pathlib, resource, sys, time
from graphql_server.errors import ImageUnreadable
from graphql_server.decoding import Decoder

async def main():
    decoder = Decoder(1, 50_000_000)
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            print("taken", await decoder.inspect(path))
        except ImageUnreadable as error:
            seconds = time.process_time() - start
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(f"{seconds:.3f}", kilobytes, error)
    decoder.close()

asyncio.run(main())
"""
    run = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(BOMBS)
    for line, said in zip(lines, BOMBS, strict=True):
        seconds, kilobytes, text = line.split(" ", 2)
        assert said.strip() in text
        assert float(seconds) < 0.1
        assert int(kilobytes) < 50_000
    assert done.stderr == ""


def parts(count: int) -> dict[str, bytes]:
    """Pictures of so many parts, each of which Pillow reads by itself in Python."""
    start, end = JPEG[:2], JPEG[2:]
    lines = zlib.compress(bytes(11 * 10), 0)
    return {
        "segments of an application": start + b"\xff\xe1\x00\x04xx" * count + end,
        "bytes that fill": start + b"\xff" * count + end,
        "markers that are none": start + b"\xff\x00" * count + end,
        "texts": png(10, 10, *[chunk(b"tEXt", b"k\0x")] * count, chunk(b"IDAT", lines)),
        "chunks of pixels": png(10, 10, *[chunk(b"IDAT", b"")] * count, chunk(b"IDAT", lines)),
    }


@pytest.mark.parametrize("kind", parts(1))
async def test_a_picture_of_very_many_parts_is_refused_and_one_of_many_is_taken(inspect: Inspect, kind: str) -> None:
    assert (await inspect(parts(5_000)[kind])).width in (10, 120)
    with pytest.raises(ImageUnreadable, match="too many parts"):
        await inspect(parts(150_000)[kind])


async def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(inspect: Inspect) -> None:
    content = saved(Image.new("L", (6000, 6000), 90), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    bomb = content[:last] + content[last:-2] * 5000 + content[-2:]
    assert (await inspect(content)).width == 6000
    start = time.process_time()
    with pytest.raises(ImageUnreadable, match="more than 27 scans"):
        await inspect(bomb)
    assert time.process_time() - start < 0.5


async def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one_and_takes_no_longer(inspect: Inspect) -> None:
    def of_scans(size: tuple[int, int], scans: int) -> bytes:
        content = saved(Image.new("L", size, 90), "JPEG", progressive=True)
        last = content.rindex(b"\xff\xda")
        return content[:last] + content[last:-2] * (scans - content.count(b"\xff\xda") + 1) + content[-2:]

    assert (await inspect(of_scans((1000, 1000), 100))).width == 1000
    start = time.process_time()
    assert (await inspect(of_scans((7000, 7000), 20))).width == 7000
    assert time.process_time() - start < 4
    with pytest.raises(ImageUnreadable, match="more than 20 scans, too many for its size"):
        await inspect(of_scans((7000, 7000), 21))


async def test_what_follows_a_jpeg_or_lies_in_its_metadata_does_not_count_as_scans(inspect: Inspect) -> None:
    film = b"\xff\xda\x00\x02" * 100_000
    assert (await inspect(JPEG + film)).width == 120
    assert (await inspect(saved(noise(), "JPEG", comment=film[:60_000]))).width == 120
