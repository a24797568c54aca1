"""A folder of pictures: what is staged, placed, removed and discarded in it."""

import asyncio
import hashlib
import os
import resource
import threading
from typing import Any
from uuid import uuid4

import pytest

from graphql_server.errors import FileTooLarge, ImageUnreadable, NotFound, StorageUnavailable
from graphql_server.media import Media, Staged
from tests.chaos.clients import open_files
from tests.media import MIB, Upload, names, store

pytestmark = pytest.mark.anyio
FIXED = "0f8fad5b-d9cb-469f-a165-70867728950e"  # not a random one: processes that share the tests name them alike


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

    before = open_files(os.getpid())
    for pieces in (1, 2, 3):  # of which the last one is never written
        with pytest.raises(EOFError):
            await media.stage(Upload(b"x" * (pieces * MIB), fail), 4 * MIB)
        assert names(media.root) == []
    assert open_files(os.getpid()) == before


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


async def test_many_may_place_into_a_new_dataset_at_once_and_no_file_stays_open(media: Media) -> None:
    before = open_files(os.getpid())
    placed = await asyncio.gather(*(store(media, b"x%d" % number, 12) for number in range(32)))
    assert names(media.root) == sorted(f"12/{file_name}" for file_name in placed)
    assert open_files(os.getpid()) == before


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
