"""What counts as a picture: read whole, measured as stored, and nothing that only claims to be one."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from graphql_server.decoding import Decoder
from graphql_server.errors import ImageUnreadable, StorageUnavailable
from graphql_server.pictures import Picture
from tests.pictures import JPEG, LIMIT, Inspect, chunk, exif, noise, png, saved, zeros

pytestmark = pytest.mark.anyio


def thumbnail() -> bytes:
    """EXIF as cameras write it: with a small JPEG, which ends before the picture begins."""
    return exif(6) + saved(noise(size=(40, 30)), "JPEG")


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


async def test_a_file_that_cannot_be_read_is_unavailable_and_not_unreadable(tmp_path: Path) -> None:
    decoder = Decoder(1, LIMIT)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(StorageUnavailable) as failure:
            await decoder.inspect(path)
        assert str(tmp_path) not in str(failure.value)
    decoder.close()
