"""Pictures over HTTP: whole, in ranges, and under conditions."""

import os
import time
from email.utils import formatdate

import pytest

from graphql_server.media import Media
from tests.media import MIB, WHOLE, client, code, picture, store

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(
    ("asked", "status", "part", "content_range"),
    [
        ("bytes=0-0", 206, WHOLE[:1], "bytes 0-0/100"),
        ("bytes=10-19", 206, WHOLE[10:20], "bytes 10-19/100"),
        ("bytes=90-", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=90-5000", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=-10", 206, WHOLE[90:], "bytes 90-99/100"),
        ("bytes=-5000", 206, WHOLE, "bytes 0-99/100"),
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


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=500-600", "bytes=-0"])
async def test_a_range_that_holds_nothing_is_refused_in_json(media: Media, asked: str) -> None:
    file_name = await store(media, WHOLE)
    async with client(media) as web:
        answer = await web.get(media.address(7, file_name), headers={"range": asked})
    assert (answer.status_code, code(answer)) == (416, "RANGE_NOT_SATISFIABLE")
    assert answer.headers["content-range"] == "bytes */100"
    assert answer.headers["cache-control"] == "no-store"


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
            if status == 412:
                assert answer.headers["cache-control"] == "no-store"
                assert method == "HEAD" or code(answer) == "PRECONDITION_FAILED"
            else:
                assert answer.content == (WHOLE if status == 200 and method == "GET" else b"")
                assert "no-store" not in answer.headers["cache-control"]


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
