"""What counts as a picture: read whole, measured as stored, and nothing that only claims to be one."""

import asyncio
import io
import random
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from graphql_server import decoding, pictures
from graphql_server.budget import Budget
from graphql_server.decoding import Decoder
from graphql_server.errors import ImageUnreadable, StorageUnavailable
from graphql_server.pictures import Picture

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[1]
LIMIT = 50_000_000
ORIENTATION = 0x0112
Inspect = Callable[[bytes], Awaitable[Picture]]


@pytest.fixture
async def inspect(tmp_path: Path) -> AsyncGenerator[Inspect]:
    """Inspect bytes as a decoder with the usual limits does."""
    decoder = Decoder(2, LIMIT)

    async def inspect(content: bytes) -> Picture:
        path = tmp_path / uuid4().hex
        path.write_bytes(content)
        return await decoder.inspect(path)

    yield inspect
    decoder.close()


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


def thumbnail() -> bytes:
    """EXIF as cameras write it: with a small JPEG, which ends before the picture begins."""
    return exif(6) + saved(noise(size=(40, 30)), "JPEG")


JPEG = saved(noise(), "JPEG")


@pytest.mark.parametrize(
    ("content", "content_type", "extension"),
    [
        (JPEG, "image/jpeg", "jpg"),
        (saved(noise("L"), "JPEG"), "image/jpeg", "jpg"),
        (saved(noise("CMYK"), "JPEG"), "image/jpeg", "jpg"),
        (saved(noise(), "JPEG", progressive=True), "image/jpeg", "jpg"),
        (saved(noise(), "MPO", save_all=True, append_images=[noise()]), "image/jpeg", "jpg"),
        (saved(noise("1"), "PNG"), "image/png", "png"),
        (saved(noise("P"), "PNG"), "image/png", "png"),
        (saved(noise("LA"), "PNG"), "image/png", "png"),
        (saved(noise("I;16"), "PNG"), "image/png", "png"),
        (saved(noise("RGBA"), "PNG"), "image/png", "png"),
        (saved(noise(), "PNG", save_all=True, append_images=[noise()] * 3), "image/png", "png"),
        (saved(noise(), "WEBP"), "image/webp", "webp"),
        (saved(noise("RGBA"), "WEBP", lossless=True), "image/webp", "webp"),
        (saved(noise(), "WEBP", save_all=True, append_images=[noise()] * 3), "image/webp", "webp"),
    ],
)
async def test_jpeg_png_and_webp_of_every_kind_are_measured(
    inspect: Inspect, content: bytes, content_type: str, extension: str
) -> None:
    assert await inspect(content) == Picture(content_type, extension, 120, 80, 0)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "JPEG2000", "AVIF", "PCX", "SGI"])
async def test_other_kinds_of_pictures_are_refused(inspect: Inspect, kind: str) -> None:
    with pytest.raises(ImageUnreadable, match="no JPEG, PNG or WebP"):
        await inspect(saved(noise(), kind))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"%PDF-1.7\n",
        b"<html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"MZ" + bytes(1000),
        b"SIMPLE  =                    T",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x04\x00\x00\x00WEBP",
        b"\xff\xd8\xff" + b"\xff\xda" * 50,
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""),
        b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 100,
        png(0, 10, chunk(b"IDAT", zeros(11))),
        png(10, 10),
        png(10, 10, chunk(b"IDAT", zeros(50))),
        png(10, 10, chunk(b"IDAT", b"no zlib")),
    ],
)
async def test_what_is_no_picture_is_refused(inspect: Inspect, content: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        await inspect(content)


@pytest.mark.parametrize(
    "content",
    [
        saved(noise(size=(400, 300)), "JPEG"),
        saved(noise(size=(400, 300)), "JPEG", progressive=True),
        saved(noise(size=(400, 300)), "JPEG", restart_marker_rows=1),
        saved(noise(size=(400, 300)), "JPEG", exif=exif(6), comment=b"x" * 5000),
        saved(noise(size=(200, 150)), "PNG"),
        saved(noise(size=(400, 300)), "WEBP"),
        saved(noise(size=(200, 150)), "WEBP", lossless=True),
        saved(noise(size=(200, 150)), "WEBP", save_all=True, append_images=[noise(size=(200, 150))]),
    ],
    ids=["jpeg", "progressive", "restarts", "metadata", "png", "webp", "lossless", "animated"],
)
async def test_a_picture_that_was_cut_anywhere_is_refused(inspect: Inspect, content: bytes) -> None:
    await inspect(content)
    for length in [*range(0, len(content), 1024), *(len(content) - missing for missing in (1, 2, 3, 4, 5, 20, 100))]:
        with pytest.raises(ImageUnreadable):
            await inspect(content[:length])


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"exif": thumbnail()}], ids=["plain", "progressive", "thumbnail"]
)
async def test_a_jpeg_of_which_the_rest_is_empty_space_is_refused(inspect: Inspect, options: dict[str, Any]) -> None:
    """As a download leaves it that had its space reserved, and broke off."""
    content = saved(noise(size=(400, 300)), "JPEG", **options)
    assert (await inspect(content)).width == 400
    for length in range(len(content) // 2, len(content), 1024):
        with pytest.raises(ImageUnreadable, match="damaged or incomplete"):
            await inspect(content[:length] + bytes(len(content) - length))


@pytest.mark.parametrize("behind", [bytes(5000), b"SEFT" * 500, b"\xff\xd8\xff\xe1\0", b"\xff\xda\0\2"], ids=repr)
@pytest.mark.parametrize(
    "content",
    [
        saved(noise(), "JPEG", exif=thumbnail()),
        saved(noise(), "JPEG", progressive=True, exif=thumbnail()),
        saved(noise(), "JPEG", restart_marker_rows=1),
        saved(noise(), "MPO", save_all=True, append_images=[noise()]),
        saved(noise(), "PNG"),
        saved(noise(), "PNG", save_all=True, append_images=[noise()] * 3),
    ],
    ids=["jpeg", "progressive", "restarts", "mpo", "png", "animated"],
)
async def test_a_whole_picture_may_have_anything_behind_its_end(
    inspect: Inspect, content: bytes, behind: bytes
) -> None:
    assert (await inspect(content + behind)).width == 120


async def test_one_flipped_bit_anywhere_in_a_png_is_found(inspect: Inspect) -> None:
    content = bytearray(saved(noise("L", (20, 20)), "PNG"))
    for position in range(len(content)):
        content[position] ^= 0x10
        with pytest.raises(ImageUnreadable):
            await inspect(bytes(content))
        content[position] ^= 0x10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_damage_of_any_kind_gives_a_picture_or_a_clear_refusal(inspect: Inspect, kind: str) -> None:
    chance = random.Random(20261123)  # The same damage each time.
    content = saved(noise(size=(64, 48)), kind, exif=exif(6))
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(3, len(damaged))] = chance.randrange(256)
        try:
            said = str(await inspect(bytes(damaged)))
        except ImageUnreadable as error:
            said = str(error)
        assert re.match(r"The picture |The file is no |Picture\(", said)
        assert " at 0x" not in said


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "degree"),
    [(1, 0), (2, 0), (3, 180), (4, 0), (5, 0), (6, 270), (7, 0), (8, 90), (0, 0), (9, 0)],
)
async def test_the_exif_orientation_asks_for_a_turn_counter_clockwise_and_leaves_the_size(
    inspect: Inspect, kind: str, orientation: int, degree: int
) -> None:
    picture = await inspect(saved(noise(), kind, exif=exif(orientation)))
    assert (picture.width, picture.height, picture.exif_degree) == (120, 80, degree)


async def test_exif_behind_the_pixels_of_a_png_counts(inspect: Inspect) -> None:
    content = saved(noise(), "PNG", exif=exif(6))
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    last = content.index(b"IEND") - 4
    assert start < content.index(b"IDAT")
    picture = await inspect(content[:start] + content[end:last] + content[start:end] + content[last:])
    assert picture.exif_degree == 270


@pytest.mark.parametrize(("orientation", "transpose"), [(3, 180), (6, 270), (8, 90)])
async def test_a_picture_turned_by_its_exif_degree_is_what_viewers_show(
    inspect: Inspect, orientation: int, transpose: int
) -> None:
    # Pillow turns counter-clockwise, and exif_transpose does what viewers do.
    from PIL.ImageOps import exif_transpose  # noqa: PLC0415

    content = saved(noise("L"), "PNG", exif=exif(orientation))
    picture = await inspect(content)
    image = Image.open(io.BytesIO(content))
    shown = exif_transpose(image)
    assert picture.exif_degree == transpose
    assert image.rotate(picture.exif_degree, expand=True).tobytes() == shown.tobytes()


@pytest.mark.parametrize(
    "broken",
    [
        b"Exif\0\0",
        b"Exif\0\0MM",
        b"Exif\0\0" + b"\xff" * 200,
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\xff\xff\xff\x7f\x08\0\0\0\0\0\0\0",
    ],
)
async def test_broken_exif_is_no_turn_and_no_reason_to_refuse(inspect: Inspect, broken: bytes) -> None:
    assert (await inspect(saved(noise(), "JPEG", exif=broken))).exif_degree == 0


async def test_only_exif_counts_as_orientation_because_browsers_look_nowhere_else(inspect: Inspect) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    assert (await inspect(saved(noise(), "JPEG", xmp=xmp))).exif_degree == 0


def test_odd_metadata_makes_no_noise_even_where_warnings_are_errors(tmp_path: Path) -> None:
    odd = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x09\0\0\0\xff\xff\0\0"
    (tmp_path / "1").write_bytes(saved(noise(), "JPEG", exif=odd))
    animation = chunk(b"acTL", bytes(8)) + chunk(b"acTL", struct.pack(">II", 1, 0)) * 2
    (tmp_path / "2").write_bytes(png(10, 10, animation, chunk(b"IDAT", zeros(110))))
    program = """
import asyncio, pathlib, sys
from graphql_server.decoding import Decoder

async def main():
    decoder = Decoder(1, 50_000_000)
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        print((await decoder.inspect(path)).width)
    decoder.close()

asyncio.run(main())
"""
    run = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("120\n10\n", "")


async def test_a_file_that_cannot_be_read_is_unavailable_and_not_unreadable(tmp_path: Path) -> None:
    decoder = Decoder(1, LIMIT)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(StorageUnavailable) as failure:
            await decoder.inspect(path)
        assert str(tmp_path) not in str(failure.value)
    decoder.close()


async def test_no_more_are_decoded_at_once_than_there_are_workers(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    noise("L", (1500, 1500)).save(path, "PNG")
    decoder = Decoder(2, LIMIT)
    before = threading.active_count()
    work = asyncio.gather(*(decoder.inspect(path) for _ in range(12)))
    most = 0
    while not work.done():
        most = max(most, threading.active_count() - before)
        await asyncio.sleep(0.001)
    assert len(await work) == 12
    assert most == 2
    decoder.close()


class Watched(Decoder):
    """Tells how many pixels were decoded at once at most, and in which order decodes began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, workers: int, max_pixels: int) -> None:
        super().__init__(workers, max_pixels)
        self.widths: list[int] = []
        self.pixels = self.most = 0
        lock, decode = threading.Lock(), pictures.inspect

        def watched(path: Path, max_pixels: int) -> Picture:
            pixels = pictures.measure(path, max_pixels)
            with lock:
                self.pixels += pixels
                self.most = max(self.most, self.pixels)
            time.sleep(0.05)
            try:
                picture = decode(path, max_pixels)
                self.widths.append(picture.width)
                return picture
            finally:
                with lock:
                    self.pixels -= pixels

        monkeypatch.setattr(pictures, "inspect", watched)


def laid(folder: Path, width: int, height: int) -> Path:
    path = folder / uuid4().hex
    noise("L", (width, height)).save(path, "PNG")
    return path


async def test_pictures_that_are_decoded_at_once_have_no_more_pixels_than_one_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Watched(monkeypatch, 8, 10_000)
    sizes = [(100, 100), (30, 100), (31, 100), (32, 100), (100, 99), (10, 10)]
    paths = [laid(tmp_path, *size) for size in sizes * 3]
    found = await asyncio.wait_for(asyncio.gather(*(decoder.inspect(path) for path in paths)), 30)
    assert [(picture.width, picture.height) for picture in found] == sizes * 3
    assert 9_300 <= decoder.most <= 10_000
    decoder.close()


async def test_a_large_picture_waits_for_none_that_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Watched(monkeypatch, 4, 10_000)
    large, small = laid(tmp_path, 99, 101), laid(tmp_path, 60, 100)
    take, taking = Budget.take, list[int]()

    async def noted(budget: Budget, pixels: int) -> None:
        taking.append(pixels)
        await take(budget, pixels)

    monkeypatch.setattr(Budget, "take", noted)
    work: list[asyncio.Task[Picture]] = []
    for path in (small, large):
        work.append(asyncio.create_task(decoder.inspect(path)))
        while len(taking) < len(work):  # noqa: ASYNC110 - it is seen in a number
            await asyncio.sleep(0.001)
    work += [asyncio.create_task(decoder.inspect(small)) for _ in range(5)]
    await asyncio.gather(*work)
    assert decoder.widths == [60, 99, *[60] * 5]
    decoder.close()


async def test_decodes_that_are_given_up_at_any_moment_keep_their_pixels_no_longer_than_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Watched(monkeypatch, 4, 10_000)
    path = laid(tmp_path, 100, 60)
    for step in range(12):
        work = [asyncio.create_task(decoder.inspect(path)) for _ in range(4)]
        await asyncio.sleep(step * 0.01)
        for task in work[step % 2 : 3]:
            task.cancel()
        done = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 10)
        assert isinstance(done[3], Picture)
    assert decoder.most == 6_000
    full = laid(tmp_path, 100, 100)
    assert (await asyncio.wait_for(decoder.inspect(full), 10)).width == 100
    decoder.close()


def test_small_files_of_many_pixels_take_no_more_memory_together_than_one(tmp_path: Path) -> None:
    Image.new("RGB", (7000, 7000)).save(tmp_path / "bomb", "WEBP", quality=1)
    program = """
import asyncio, pathlib, resource, sys
from graphql_server.decoding import Decoder

async def main():
    decoder = Decoder(8, 50_000_000)
    await asyncio.gather(*(decoder.inspect(pathlib.Path(sys.argv[1])) for _ in range(int(sys.argv[2]))))
    decoder.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main())
"""

    def peak(count: int) -> int:
        run = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "bomb"), str(count)]
        return int(subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert peak(4) < 1.5 * peak(1)


async def test_bytes_that_were_found_good_are_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Watched(monkeypatch, 2, LIMIT)
    path = laid(tmp_path, 100, 60)
    first = await decoder.inspect(path, "a")
    assert [await decoder.inspect(path, "a") for _ in range(5)] == [first] * 5
    assert decoder.widths == [100]
    await decoder.inspect(path)
    await decoder.inspect(path, "b")
    assert decoder.widths == [100] * 3
    path.write_bytes(b"junk")
    for _ in range(2):
        with pytest.raises(ImageUnreadable):
            await decoder.inspect(path, "c")
    decoder.close()


async def test_of_those_that_were_found_good_the_last_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "REMEMBERED", 3)
    decoder = Watched(monkeypatch, 2, LIMIT)
    path = laid(tmp_path, 10, 10)
    for sha256 in "abcada":  # The d takes the place of b, since a was asked for again.
        await decoder.inspect(path, sha256)
    assert len(decoder.widths) == 4
    await decoder.inspect(path, "b")
    assert len(decoder.widths) == 5
    decoder.close()


async def test_the_event_loop_runs_on_while_a_large_picture_is_decoded(inspect: Inspect) -> None:
    content = saved(Image.new("RGB", (6000, 5000), (9, 8, 7)), "PNG")
    turns, longest = 0, 1.0
    for _ in range(5):  # a busy machine may hold the loop up as well
        if turns <= 10 or longest >= 0.5:
            turns, longest = await turns_during(inspect(content))
    assert turns > 10
    assert longest < 0.5


async def turns_during(work: Awaitable[object]) -> tuple[int, float]:
    """How often the event loop came round until this was done, and the seconds of the longest time."""
    task = asyncio.ensure_future(work)
    turns, longest, last = 0, 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.001)
        turns, longest, last = turns + 1, max(longest, time.perf_counter() - last), time.perf_counter()
    await task
    return turns, longest
