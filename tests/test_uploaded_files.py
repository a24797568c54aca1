"""Which files are taken as photos: of which kind, how large, and whole."""

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from graphql_server import disk
from graphql_server.disk import STAGING
from graphql_server.media import PIECE_BYTES
from tests.front_door import codes
from tests.holdings import holdings
from tests.photos import photo
from tests.servers import Server, running, settings_for


def picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 90, 10)).save(buffer, format)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of some bytes that says it has 400 million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2_501) * 20_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("format", "extension", "content_type"), [("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")]
)
def test_the_bytes_and_not_the_name_say_what_a_picture_is(
    shared: Server, format: str, extension: str, content_type: str
) -> None:
    image = shared.save(picture(format), "photo.jpg")
    assert image["uuidFileName"].endswith(f".{extension}")
    assert image["contentType"] == content_type
    assert image["originalFileName"] == "photo.jpg"
    assert shared.get(image["url"]).headers["content-type"] == content_type


UNREADABLE = {
    "GIF": picture("GIF"),
    "BMP": picture("BMP"),
    "TIFF": picture("TIFF"),
    "text": b"not a picture",
    "a web page": b"<html><script>alert(1)</script></html>",
    "half a JPEG": photo(size=(640, 480))[:-2_000],
    "a JPEG without its end": photo()[:-2],
    "a JPEG's first bytes": b"\xff\xd8\xff",
    "half a PNG": picture("PNG")[:-40],
    "a PNG without its last byte": picture("PNG")[:-1],
    "a bomb": bomb(),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_whole_picture_of_a_known_kind_is_refused_and_leaves_nothing(shared: Server, kind: str) -> None:
    before = holdings(shared.settings)
    answer = shared.upload(UNREADABLE[kind], "photo.jpg")
    assert codes(answer) == ["IMAGE_UNREADABLE"]
    assert answer["data"] == {"saveFix": None}
    assert holdings(shared.settings) == before


def test_an_empty_file_is_refused_and_leaves_nothing(shared: Server) -> None:
    before = holdings(shared.settings)
    assert codes(shared.upload(b"")) == ["IMAGE_UNREADABLE"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("file", ["photo.jpg", 5, None, {}])
def test_an_upload_that_is_no_file_is_refused_and_changes_nothing(shared: Server, file: object) -> None:
    before = holdings(shared.settings)
    fix = {"file": file, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}
    query = "mutation($input: SaveFixInput!) { saveFix(input: $input) { image { pk } } }"
    assert shared.codes(query, {"input": fix}) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


def test_a_file_of_the_limit_is_taken_and_one_byte_more_is_too_large(database_url: str, media_root: Path) -> None:
    content = photo()
    with running(settings_for(database_url, media_root, max_upload_bytes=len(content))) as server:
        server.save(content)
        before = holdings(server.settings)
        assert codes(server.upload(content + b"\x00")) == ["FILE_TOO_LARGE"]
        assert holdings(server.settings) == before


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_photo_that_is_too_large_leaves_nothing_where_the_folder_has_no_room_for_it_either(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network folders take what is written at first, and say so when the file is closed."""
    close = os.close

    def closing(descriptor: int) -> None:
        staged = STAGING in Path(f"/proc/self/fd/{descriptor}").readlink().parts
        close(descriptor)
        if staged:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(disk.os, "close", closing)
    with running(settings_for(database_url, media_root, max_upload_bytes=PIECE_BYTES)) as server:
        assert codes(server.upload(bytes(PIECE_BYTES + 1))) == ["FILE_TOO_LARGE"]
        assert not list((media_root / STAGING).iterdir())
