"""Pictures that are decoded beside each other: how many at once, in which order, and none twice."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from graphql_server import decoding, pictures
from graphql_server.budget import Budget
from graphql_server.decoding import Decoder
from graphql_server.errors import ImageUnreadable
from graphql_server.pictures import Picture
from tests.pictures import LIMIT, ROOT, Inspect, noise, saved

pytestmark = pytest.mark.anyio


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
