"""How EXIF asks for a picture to be turned, and what of its metadata does not count."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import ROOT, Inspect, chunk, exif, noise, png, saved, zeros

pytestmark = pytest.mark.anyio


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
