"""Pictures over HTTP: what is refused, and what goes wrong meanwhile."""

import asyncio
import json
import os
import threading
from typing import Any
from uuid import uuid4

import pytest

from graphql_server import disk
from graphql_server.media import Media
from tests.chaos.clients import open_files
from tests.media import KEYS, MIB, WHOLE, client, code, names, serving, store

pytestmark = pytest.mark.anyio


async def raw(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes that no client would send; gives the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


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
        before = open_files(os.getpid())
        opened = await media.open("7", file_name, 1000)
        assert opened.found.head == b"x" * 1000
        opened.close()
        assert open_files(os.getpid()) == before
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
        before = open_files(os.getpid())
        request = f"GET {media.address(7, file_name)} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        for _ in range(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await reader.read(1000)
            writer.transport.abort()
        async with asyncio.timeout(30):
            while open_files(os.getpid()) > before:  # noqa: ASYNC110 - it is seen in a number
                await asyncio.sleep(0.02)


async def test_the_plain_server_needs_no_signature_and_has_browsers_ask_again(media: Media) -> None:
    file_name = await store(media, WHOLE)
    async with client(media, signed=False) as web:
        answer = await web.get(f"/media/7/{file_name}")
        again = await web.get(f"/media/7/{file_name}", headers={"if-none-match": answer.headers["etag"]})
    assert (answer.status_code, answer.content, again.status_code) == (200, WHOLE, 304)
    assert answer.headers["cache-control"] == "private, no-cache"
