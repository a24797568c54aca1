"""Pictures on the disk, their signed addresses, and how they are served."""

import asyncio
import hashlib
import io
import json
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from graphql_server import disk
from graphql_server.errors import FileTooLarge, ImageUnreadable, NotFound, StorageUnavailable
from graphql_server.http.media import routes
from graphql_server.media import Media, Staged

pytestmark = pytest.mark.anyio
KEYS = ("kJ8sQ2vN5xR7tY1uW3zA6bC9dE0fG4hL", "Zx0Yw9Vu8Ts7Rq6Po5Nm4Lk3Ji2Hg1Fe")
MIB = 1024 * 1024
FIXED = "0f8fad5b-d9cb-469f-a165-70867728950e"  # not a random one: processes that share the tests name them alike


@pytest.fixture
def media(tmp_path: Path) -> Media:
    root = tmp_path / "media"
    root.mkdir()
    return Media(root, "/media", KEYS, 3600)


class Upload:
    """An upload of these bytes that may stop with an error or wait at its end."""

    def __init__(self, content: bytes, end: Callable[[], Awaitable[bytes]] | None = None) -> None:
        self._content = io.BytesIO(content)
        self._end = end
        self.pieces: list[int] = []

    async def read(self, size: int, /) -> bytes:
        await asyncio.sleep(0)
        piece = self._content.read(size)
        if not piece and self._end:
            return await self._end()
        self.pieces.append(len(piece))
        return piece


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def store(media: Media, content: bytes, dataset_pk: int = 7, extension: str = "jpg") -> str:
    """Stage and place a picture; gives its file name."""
    file_name = f"{uuid4()}.{extension}"
    staged = await media.stage(Upload(content), len(content))
    await media.place(dataset_pk, {file_name: staged})
    await media.discard(staged)
    return file_name


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 50).convert("RGB").save(stream, kind)
    return stream.getvalue()


# To the disk and away again.


async def test_a_staged_upload_has_its_bytes_its_size_and_its_hash(media: Media) -> None:
    content = os.urandom(2 * MIB + 5)
    upload = Upload(content)
    staged = await media.stage(upload, 20 * MIB)
    assert staged.path.read_bytes() == content
    assert staged.byte_size == len(content)
    assert staged.sha256 == hashlib.sha256(content).hexdigest()
    assert upload.pieces == [MIB, MIB, 5, 0]


async def test_an_upload_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(media: Media) -> None:
    await media.discard(await media.stage(Upload(b"x" * 1000), 1000))
    with pytest.raises(FileTooLarge, match="1000 bytes"):
        await media.stage(Upload(b"x" * 1001), 1000)
    assert names(media.root) == []


async def test_an_endless_upload_is_read_no_further_than_the_limit(media: Media) -> None:
    upload = Upload(b"x" * (10 * MIB))
    with pytest.raises(FileTooLarge):
        await media.stage(upload, 2 * MIB)
    assert sum(upload.pieces) <= 3 * MIB
    assert names(media.root) == []


async def test_an_empty_upload_is_refused_and_leaves_nothing(media: Media) -> None:
    with pytest.raises(ImageUnreadable, match="empty"):
        await media.stage(Upload(b""), MIB)
    assert names(media.root) == []


async def test_an_upload_that_breaks_off_leaves_nothing(media: Media) -> None:
    async def fail() -> bytes:
        raise EOFError("the client has gone")

    with pytest.raises(EOFError):
        await media.stage(Upload(b"x" * MIB, fail), 2 * MIB)
    assert names(media.root) == []


@pytest.mark.parametrize("times", [1, 3])
async def test_staging_that_is_cancelled_at_any_moment_leaves_nothing(media: Media, times: int) -> None:
    for turns in range(80):
        staging = asyncio.create_task(media.stage(Upload(b"x" * (3 * MIB)), 4 * MIB))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0002)
        for _ in range(times):
            staging.cancel()
            await asyncio.sleep(0)
        (outcome,) = await asyncio.gather(staging, return_exceptions=True)
        if isinstance(outcome, Staged):
            await media.discard(outcome)
        assert names(media.root) == []


async def test_a_disk_that_takes_no_more_is_unavailable_and_leaves_nothing(media: Media) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        with pytest.raises(StorageUnavailable) as failure:
            await media.stage(Upload(b"x" * (2 * MIB)), 4 * MIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(failure.value.__cause__, OSError)
    assert failure.value.__cause__.errno
    assert str(media.root) not in str(failure.value)
    assert names(media.root) == []


async def test_a_folder_that_is_gone_is_unavailable_and_not_made_anew(media: Media) -> None:
    staged = await media.stage(Upload(b"x"), 1)
    staged.path.unlink()
    staged.path.parent.rmdir()
    media.root.rmdir()
    with pytest.raises(StorageUnavailable):
        await media.stage(Upload(b"x"), 1)
    with pytest.raises(StorageUnavailable):
        await media.place(7, {f"{uuid4()}.jpg": staged})
    with pytest.raises(StorageUnavailable):
        await media.open("7", f"{uuid4()}.jpg")
    with pytest.raises(StorageUnavailable):
        await media.remove(7, f"{uuid4()}.jpg")
    assert not media.root.exists()


async def test_trying_whether_pictures_can_be_staged_leaves_nothing_and_finds_a_folder_gone(media: Media) -> None:
    await media.check_writable()
    assert names(media.root) == []
    (media.root / ".staging").rmdir()
    media.root.rmdir()
    with pytest.raises(StorageUnavailable):
        await media.check_writable()
    assert not media.root.exists()


async def test_a_placed_picture_lies_under_its_dataset_and_nowhere_else(media: Media) -> None:
    file_name = await store(media, b"first", dataset_pk=7)
    other_name = await store(media, b"second", dataset_pk=7)
    assert names(media.root) == sorted([f"7/{file_name}", f"7/{other_name}"])
    assert (media.root / "7" / file_name).read_bytes() == b"first"


async def test_placing_never_overwrites(media: Media) -> None:
    file_name = await store(media, b"first")
    staged = await media.stage(Upload(b"second"), 6)
    with pytest.raises(FileExistsError):
        await media.place(7, {file_name: staged})
    assert (media.root / "7" / file_name).read_bytes() == b"first"
    await media.discard(staged)
    assert names(media.root) == [f"7/{file_name}"]


async def test_of_several_pictures_none_is_placed_where_one_finds_its_name_taken(media: Media) -> None:
    taken, staged = await store(media, b"first"), dict[str, Staged]()
    for name in (f"{uuid4()}.jpg", taken, f"{uuid4()}.jpg"):
        staged[name] = await media.stage(Upload(b"x"), 1)
    with pytest.raises(FileExistsError):
        await media.place(7, staged)
    assert (media.root / "7" / taken).read_bytes() == b"first"
    await media.discard(*staged.values())
    assert names(media.root) == [f"7/{taken}"]


async def test_a_network_folder_that_does_a_thing_twice_has_placed_the_picture(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def twice(*args: Any) -> None:
        link(*args)
        link(*args)

    monkeypatch.setattr(os, "link", twice)
    file_name = await store(media, b"x")
    assert names(media.root) == [f"7/{file_name}"]


async def test_what_was_placed_can_be_removed_and_placed_elsewhere_until_it_is_discarded(
    media: Media,
) -> None:
    staged = await media.stage(Upload(b"x"), 1)
    first, second = f"{uuid4()}.webp", f"{uuid4()}.webp"
    await media.place(7, {first: staged})
    await media.remove(7, first)
    await media.place(8, {second: staged})
    await media.discard(staged)
    assert names(media.root) == [f"8/{second}"]
    assert (media.root / "8" / second).read_bytes() == b"x"


async def test_many_may_place_into_a_new_dataset_at_once(media: Media) -> None:
    placed = await asyncio.gather(*(store(media, b"x%d" % number, 12) for number in range(32)))
    assert names(media.root) == sorted(f"12/{file_name}" for file_name in placed)


async def test_placing_that_is_cancelled_has_come_to_its_end(media: Media) -> None:
    for _ in range(20):
        staged = await media.stage(Upload(b"x"), 1)
        file_name = f"{uuid4()}.png"
        placing = asyncio.create_task(media.place(7, {file_name: staged}))
        await asyncio.sleep(0)
        placing.cancel()
        await asyncio.gather(placing, return_exceptions=True)
        await media.remove(7, file_name)
        await media.discard(staged)
        await asyncio.sleep(0.005)
        assert names(media.root) == []


async def test_removing_and_discarding_what_is_missing_is_fine(media: Media) -> None:
    file_name = await store(media, b"x")
    await media.remove(7, file_name)
    await media.remove(7, file_name)
    await media.remove(8, file_name)
    staged = await media.stage(Upload(b"x"), 1)
    await media.discard(staged)
    await media.discard(staged)
    assert names(media.root) == []


@pytest.mark.parametrize(
    "file_name", ["../../etc/passwd", "x.jpg", f"{FIXED}.html", f"{FIXED}.jpg/..", f"{FIXED}.jpg\n", ""]
)
async def test_no_other_name_than_a_pictures_is_placed_removed_or_opened(media: Media, file_name: str) -> None:
    staged = await media.stage(Upload(b"x"), 1)
    with pytest.raises(ValueError, match="picture"):
        await media.place(7, {file_name: staged})
    with pytest.raises(ValueError, match="picture"):
        await media.remove(7, file_name)
    with pytest.raises(NotFound):
        await media.open("7", file_name)


# Signed addresses.


@dataclass
class Signed:
    """The parts of an address."""

    dataset_pk: str
    file_name: str
    expires: str
    signature: str

    @classmethod
    def parse(cls, address: str) -> "Signed":
        parts = urlsplit(address)
        _, dataset_pk, file_name = parts.path.lstrip("/").split("/")
        query = httpx.QueryParams(parts.query)
        return cls(dataset_pk, file_name, query["expires"], query["signature"])


def verdict(media: Media, signed: Signed, now: float | None = None) -> str:
    return media.check(signed.dataset_pk, signed.file_name, signed.expires, signed.signature, now)


NAME = "6f3c1e0a-93a1-4f0e-8a67-0f2f5d3b9c11.jpg"


def test_an_address_is_valid_for_its_time_at_least_and_for_twice_that_at_most(media: Media) -> None:
    for now in (0, 1, 3599, 3600, 3601, 1_795_000_000, 1_795_000_000.9):
        signed = Signed.parse(media.address(7, NAME, now))
        assert 3600 < int(signed.expires) - now <= 7200 or int(signed.expires) - int(now) == 7200
        assert verdict(media, signed, now) == "good"
        assert verdict(media, signed, now + 3600) == "good"
        assert verdict(media, signed, now + 7201) == "expired"


def test_a_picture_keeps_its_address_for_a_while(media: Media) -> None:
    addresses = {media.address(7, NAME, 3600 * 500_000 + second) for second in range(3600)}
    assert len(addresses) == 1


def test_the_signature_is_that_of_the_published_scheme(media: Media) -> None:
    # printf '7/NAME\n1795006800' | openssl dgst -sha256 -hmac KEY -binary | basenc --base64url
    signed = Signed.parse(media.address(7, NAME, 1_795_000_000))
    assert signed.expires == "1795006800"
    assert signed.signature == "AspKhwubKIbx-j3g-q13ZNROIrUm6jTHAjloqzQOfvw"


@pytest.mark.parametrize("part", ["dataset_pk", "file_name", "expires", "signature"])
def test_an_address_with_one_part_changed_is_bad(media: Media, part: str) -> None:
    other = Signed.parse(media.address(8, NAME.replace("6", "7"), 1_700_000_000))
    for value in (getattr(other, part), "", "x" * 5000, "\ud800", "\uff10", "\x00", "1e9", "-1", "7/.."):
        signed = Signed.parse(media.address(7, NAME))
        setattr(signed, part, value)
        assert verdict(media, signed) == "bad"


def test_an_address_whose_expiry_is_written_otherwise_is_bad(media: Media) -> None:
    signed = Signed.parse(media.address(7, NAME))
    signed.expires = f"0{signed.expires}"
    assert verdict(media, signed) == "bad"


def test_an_expired_address_with_a_wrong_signature_does_not_say_that_it_was_once_good(media: Media) -> None:
    signed = Signed.parse(media.address(7, NAME, 1000))
    assert verdict(media, signed) == "expired"
    signed.signature = signed.signature[:-1]
    assert verdict(media, signed) == "bad"


def test_the_first_key_signs_and_all_keys_verify(media: Media) -> None:
    old, new = (Media(media.root, "/media", keys, 3600) for keys in (KEYS[1:], KEYS[:1]))
    by_old, by_both, by_new = (Signed.parse(each.address(7, NAME)) for each in (old, media, new))
    assert by_both == by_new != by_old
    assert verdict(media, by_old) == verdict(media, by_new) == "good"
    assert verdict(new, by_old) == verdict(old, by_new) == "bad"


# Over HTTP.


@asynccontextmanager
async def serving(media: Media, *, signed: bool = True) -> AsyncGenerator[int]:
    """Run a real server of the pictures below /media; gives its port."""
    app = Starlette(routes=[Mount("/media", routes=routes(media, signed=signed))])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def client(media: Media, *, signed: bool = True) -> AsyncGenerator[httpx.AsyncClient]:
    async with (
        serving(media, signed=signed) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=60) as web,
    ):
        yield web


async def raw(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes that no client would send; gives the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def code(answer: httpx.Response) -> str:
    """Read the code of an error, whose answer nobody may keep."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    (error,) = answer.json()["errors"]
    assert error["message"]
    return error["extensions"]["code"]


async def test_a_picture_is_served_whole_with_all_that_keeps_it_a_picture(media: Media) -> None:
    content = picture("JPEG")
    file_name = await store(media, content)
    async with client(media) as web:
        answer = await web.get(media.address(7, file_name))
    assert answer.status_code == 200
    assert answer.content == content
    headers = answer.headers
    assert headers["content-type"] == "image/jpeg"
    assert headers["content-length"] == str(len(content))
    assert headers["content-disposition"] == f'inline; filename="{file_name}"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["accept-ranges"] == "bytes"
    modified = (media.root / "7" / file_name).stat().st_mtime
    assert headers["last-modified"] == formatdate(int(modified), usegmt=True)
    private, age, immutable = headers["cache-control"].split(", ")
    assert (private, immutable) == ("private", "immutable")
    assert 3590 <= int(age.removeprefix("max-age=")) <= 7200


async def test_head_has_the_headers_of_get_and_no_body(media: Media) -> None:
    file_name = await store(media, picture("PNG"), extension="png")
    async with client(media) as web:
        get = await web.get(media.address(7, file_name))
        head = await web.head(media.address(7, file_name), headers={"range": "bytes=0-1"})
    assert head.status_code == 200
    assert head.content == b""
    for each in ("content-length", "content-type", "etag", "last-modified", "content-disposition"):
        assert head.headers[each] == get.headers[each]


WHOLE = bytes(range(100))


@pytest.mark.parametrize(
    ("asked", "status", "part", "content_range"),
    [
        ("bytes=0-0", 206, WHOLE[:1], "bytes 0-0/100"),
        ("bytes=10-19", 206, WHOLE[10:20], "bytes 10-19/100"),
        ("bytes=90-", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=90-5000", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=-10", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=-5000", 206, WHOLE, "bytes 0-99/100"),
        ("bytes=100-", 416, b"", "bytes */100"),
        ("bytes=500-600", 416, b"", "bytes */100"),
        ("bytes=-0", 416, b"", "bytes */100"),
        ("bytes=0-1,5-6", 200, WHOLE, None),
        ("bytes=20-10", 200, WHOLE, None),
        ("bytes=-", 200, WHOLE, None),
        ("bytes=a-b", 200, WHOLE, None),
        ("bytes=" + "9" * 5000 + "-", 200, WHOLE, None),
        ("pages=1-2", 200, WHOLE, None),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_a_range_gives_its_part_and_nonsense_the_whole(
    media: Media, asked: str, status: int, part: bytes, content_range: str | None
) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        answer = await web.get(media.address(7, file_name), headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, part)
    assert answer.headers.get("content-range") == content_range
    assert answer.headers["content-length"] == str(len(part))


async def test_a_large_picture_arrives_unharmed_in_pieces_and_in_ranges(media: Media) -> None:
    content = os.urandom(5 * MIB + 7)
    file_name = await store(media, content)
    async with client(media) as web:
        whole = await web.get(media.address(7, file_name))
        part = await web.get(media.address(7, file_name), headers={"range": f"bytes={MIB - 1}-{3 * MIB}"})
    assert whole.content == content
    assert part.content == content[MIB - 1 : 3 * MIB + 1]


async def test_a_range_holds_only_if_the_picture_is_still_the_same(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        address = media.address(7, file_name)
        headers = (await web.get(address)).headers
        for validator, status in (
            (headers["etag"], 206),
            (headers["last-modified"], 206),
            ('"other"', 200),
            (f"W/{headers['etag']}", 200),
            (formatdate(0, usegmt=True), 200),
        ):
            answer = await web.get(address, headers={"range": "bytes=0-9", "if-range": validator})
            assert answer.status_code == status


async def test_a_picture_that_the_browser_has_is_not_sent_again(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        address = media.address(7, file_name)
        etag = (await web.get(address)).headers["etag"]
        for known, status in (
            (etag, 304),
            (f"W/{etag}", 304),
            (f'"other", {etag}', 304),
            ("*", 304),
            ('"other"', 206),
            ("", 206),
        ):
            answer = await web.get(address, headers={"if-none-match": known, "range": "bytes=0-9"})
            assert answer.status_code == status
            if status == 304:
                assert answer.content == b""
                assert answer.headers["etag"] == etag
                assert "immutable" in answer.headers["cache-control"]
        lines = [("if-none-match", '"other"'), ("if-none-match", etag)]
        assert (await web.get(address, headers=lines)).status_code == 304


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_are_weighed_in_the_order_of_http_and_dates_that_are_none_do_not_count(
    media: Media, method: str
) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        address = media.address(7, file_name)
        headers = (await web.get(address)).headers
        etag, modified = headers["etag"], headers["last-modified"]
        other, old = '"other"', "Sunday, 06-Nov-94 08:49:37 GMT"
        later = formatdate(time.time() + 60, usegmt=True)
        cases: list[tuple[int, dict[str, str]]] = [
            (304, {"if-modified-since": modified}),
            (304, {"if-modified-since": later}),
            (200, {"if-modified-since": old}),
            (200, {"if-modified-since": "yesterday"}),
            (200, {"if-modified-since": modified, "if-none-match": other}),
            (304, {"if-modified-since": old, "if-none-match": etag}),
            (304, {"if-modified-since": modified, "range": "bytes=0-9"}),
            (200, {"if-match": etag}),
            (200, {"if-match": f"{other}, {etag}"}),
            (200, {"if-match": "*"}),
            (412, {"if-match": other}),
            (412, {"if-match": f"W/{etag}"}),
            (412, {"if-match": other, "if-none-match": etag}),
            (304, {"if-match": etag, "if-none-match": etag}),
            (412, {"if-unmodified-since": old}),
            (200, {"if-unmodified-since": modified}),
            (200, {"if-unmodified-since": "Sun, 06 Nov 99999 25:49:37 GMT"}),
            (200, {"if-unmodified-since": old, "if-match": etag}),
            (412, {"if-unmodified-since": old, "if-modified-since": modified, "range": "bytes=0-9"}),
        ]
        for status, conditions in cases:
            answer = await web.request(method, address, headers=conditions)
            assert (answer.status_code, conditions) == (status, conditions)
            assert answer.content == (WHOLE if status == 200 and method == "GET" else b"")
            assert ("no-store" in answer.headers["cache-control"]) == (status == 412)


async def test_two_pictures_never_share_an_etag(media: Media) -> None:
    first, second = await store(media, WHOLE), await store(media, WHOLE)
    async with client(media) as web:
        etags = {(await web.get(media.address(7, name))).headers["etag"] for name in (first, second)}
    assert len(etags) == 2


@pytest.mark.parametrize(
    ("content", "content_type", "shown"),
    [
        (picture("JPEG"), "image/jpeg", "inline"),
        (picture("PNG"), "image/png", "inline"),
        (picture("WEBP"), "image/webp", "inline"),
        (picture("GIF"), "application/octet-stream", "attachment"),
        (picture("BMP"), "application/octet-stream", "attachment"),
        (b"<html><script>alert(1)</script>", "application/octet-stream", "attachment"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "application/octet-stream", "attachment"),
        (picture("JPEG") + b"<html><script>alert(1)</script>", "image/jpeg", "inline"),
        (b"R", "application/octet-stream", "attachment"),
    ],
)
async def test_the_content_type_comes_from_the_bytes_whatever_the_name_says(
    media: Media, content: bytes, content_type: str, shown: str
) -> None:
    file_name = await store(media, content, extension="jpg")
    async with client(media) as web:
        answer = await web.get(media.address(7, file_name))
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-disposition"].startswith(f"{shown};")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_unsigned_or_badly_signed_address_is_403_whether_or_not_the_picture_exists(
    media: Media,
) -> None:
    file_name = await store(media, WHOLE)
    address = media.address(7, file_name)
    async with client(media) as web:
        for wrong in (
            f"/media/7/{file_name}",
            f"/media/7/{uuid4()}.jpg",
            address[:-1],
            f"{address}x",
            f"{address}&signature=",
            address.replace("/7/", "/8/"),
            address.replace("expires=", "expires=9"),
            f"/media/7/{file_name}?expires=%ff&signature=%00%ed%a0%80",
        ):
            answer = await web.get(wrong)
            assert (answer.status_code, code(answer)) == (403, "FORBIDDEN")


async def test_an_expired_address_is_410(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        answer = await web.get(media.address(7, file_name, now=1_000_000))
    assert (answer.status_code, code(answer)) == (410, "URL_EXPIRED")


async def test_a_removed_picture_is_404_though_its_address_is_still_good(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        assert (await web.get(media.address(7, file_name))).status_code == 200
        await media.remove(7, file_name)
        answer = await web.get(media.address(7, file_name))
        assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")
        answer = await web.get(media.address(999, file_name))
        assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_other_methods_are_405_and_told_which_are_allowed(media: Media, method: str) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        answer = await web.request(method, media.address(7, file_name))
    assert (answer.status_code, code(answer)) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, HEAD"
    assert names(media.root) == [f"7/{file_name}"]


TRAVERSALS = [
    "/media/../secret",
    "/media/7/../../secret",
    "/media/7/..",
    "/media/%2e%2e/secret",
    "/media/%2e%2e%2fsecret",
    "/media/7/%2e%2e%2f%2e%2e%2fsecret",
    "/media/%252e%252e%252fsecret",
    "/media/7/..%5c..%5csecret",
    "/media/..%c0%afsecret",
    "/media/%e2%80%a5/secret",
    "/media/7%00/NAME",
    "/media/7/NAME%00.png",
    "/media/7/NAME%0a",
    "/media//7/NAME",
    "/media/7//NAME",
    "/media///etc/passwd",
    "/media/7/NAME/",
    "/media/./7/NAME",
    "/media/7;/NAME",
    "/media/+7/NAME",
    "/media/-7/NAME",
    "/media/%EF%BC%97/NAME",
    "/media/07/NAME",
    "/media/7/" + "a" * 4096,
    "/media/" + "7" * 4096 + "/NAME",
    "/media/.staging/NAME",
    "/media/7",
    "/media/7/",
    "/media/",
]


@pytest.mark.parametrize("target", TRAVERSALS)
async def test_no_way_of_writing_a_path_leads_out_of_the_folder(media: Media, target: str) -> None:
    file_name = await store(media, WHOLE)
    (media.root.parent / "secret").write_bytes(b"the secret")
    async with serving(media, signed=False) as port:
        target = target.replace("NAME", file_name)
        request = f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        status, body = await raw(port, request.encode())
        good, whole = await raw(port, request.replace(target, f"/media/7/{file_name}").encode())
    assert (good, whole) == (200, WHOLE)
    assert status == 404
    assert json.loads(body)["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_a_picture_in_memory_is_read_without_a_thread_and_one_on_the_disk_alone_by_one(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_name = await store(media, b"x" * 1000)
    readers: list[threading.Thread] = []
    pread, preadv = os.pread, os.preadv
    cold = False

    def cached(descriptor: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        # So much as is in memory, of a file that is there in part as well.
        return preadv(descriptor, buffers, offset) // (2 if cold else 1)

    def waited(*args: int) -> bytes:
        readers.append(threading.current_thread())
        return pread(*args)

    monkeypatch.setattr(os, "preadv", cached)
    monkeypatch.setattr(os, "pread", waited)
    monkeypatch.setattr(media, "_local", True)
    for cold in (False, True):
        before = open_files()
        opened = await media.open("7", file_name, 1000)
        assert opened.found.head == b"x" * 1000
        opened.close()
        assert open_files() == before
        assert [reader is threading.main_thread() for reader in readers] == [False] * cold


async def test_a_network_folder_is_never_waited_for_by_the_event_loop(
    media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_name = await store(media, b"x")
    finders: list[threading.Thread] = []
    find = disk.find

    def found(*args: Any, **options: Any) -> disk.Found:
        finders.append(threading.current_thread())
        return find(*args, **options)

    monkeypatch.setattr(disk, "LOCAL", ())
    monkeypatch.setattr(disk, "find", found)
    distant = Media(media.root, "/media", KEYS, 3600)
    (await distant.open("7", file_name)).close()
    assert threading.main_thread() not in finders
    assert len(finders) == 1
    distant.close()


async def test_links_folders_and_pipes_are_404_even_under_the_name_of_a_picture(media: Media) -> None:
    file_name = await store(media, WHOLE)
    outside = media.root.parent / "outside"
    outside.mkdir()
    secret = f"{uuid4()}.jpg"
    (outside / secret).write_bytes(b"the secret")
    linked, folder, pipe = (f"{uuid4()}.jpg" for _ in range(3))
    (media.root / "7" / linked).symlink_to(outside / secret)
    (media.root / "8").symlink_to(outside)
    (media.root / "9").write_bytes(b"no folder")
    (media.root / "7" / folder).mkdir()
    os.mkfifo(media.root / "7" / pipe)
    async with client(media) as web:
        for dataset_pk, name in ((7, linked), (8, secret), (9, file_name), (7, folder), (7, pipe)):
            answer = await web.get(media.address(dataset_pk, name))
            assert (answer.status_code, code(answer)) == (404, "NOT_FOUND")
        assert (await web.get(media.address(7, file_name))).content == WHOLE


async def test_a_folder_that_is_away_is_503_and_serves_again_when_it_is_back(media: Media) -> None:
    file_name = await store(media, WHOLE)
    away = media.root.with_name("away")
    async with client(media) as web:
        media.root.rename(away)
        answer = await web.get(media.address(7, file_name))
        assert (answer.status_code, code(answer)) == (503, "STORAGE_UNAVAILABLE")
        away.rename(media.root)
        assert (await web.get(media.address(7, file_name))).content == WHOLE


async def test_clients_that_leave_in_the_middle_leave_no_open_file(media: Media) -> None:
    file_name = await store(media, os.urandom(8 * MIB))
    async with serving(media) as port:
        await raw(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        before = open_files()
        request = f"GET {media.address(7, file_name)} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        for _ in range(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await reader.read(1000)
            writer.transport.abort()
        async with asyncio.timeout(30):
            while open_files() > before:  # noqa: ASYNC110 - it is seen in a number
                await asyncio.sleep(0.02)


async def test_the_plain_server_needs_no_signature_and_has_browsers_ask_again(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media, signed=False) as web:
        answer = await web.get(f"/media/7/{file_name}")
        again = await web.get(f"/media/7/{file_name}", headers={"if-none-match": answer.headers["etag"]})
    assert (answer.status_code, answer.content, again.status_code) == (200, WHOLE, 304)
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_a_folder_that_is_closed_finishes_what_it_does_and_leaves_no_thread(media: Media) -> None:
    # Of others, which nobody has closed, threads may end at any moment.
    before = set(threading.enumerate())

    def threads() -> int:
        return sum(thread.name.startswith("media") for thread in {*threading.enumerate()} - before)

    staging = asyncio.create_task(media.check_writable())
    await asyncio.sleep(0.05)
    assert threads() == 1
    media.close()
    await staging
    async with asyncio.timeout(30):
        while threads():  # noqa: ASYNC110 - it is seen in a number
            await asyncio.sleep(0.02)
