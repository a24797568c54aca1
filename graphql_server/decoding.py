"""Decodes pictures off the event loop, as many at a time as there are processors and memory for."""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from graphql_server import pictures
from graphql_server.budget import Budget
from graphql_server.endings import let_fail
from graphql_server.figures import Slots
from graphql_server.pictures import Picture

REMEMBERED = 1_000  # pictures, of some hundred bytes each


class Decoder:
    """Decodes so many pictures at a time that they have `max_pixels` together at most.

    That bounds the memory, of which a pixel takes up to 16 bytes. Who waits may give up sooner than a decode ends.
    """

    def __init__(self, workers: int, max_pixels: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self.slots = Slots()
        self._max_pixels = max_pixels
        self._budget = Budget(max_pixels)
        self._known: OrderedDict[str, Picture] = OrderedDict()

    async def inspect(self, path: Path, sha256: str | None = None) -> Picture:
        """Decode the whole file; raises as `pictures.inspect`.

        Bytes of a hash that was found good lately are not decoded again.
        """
        if sha256 in self._known:
            self._known.move_to_end(sha256)
            return self._known[sha256]
        picture = await self._decode(path)
        if sha256 is not None:
            self._known[sha256] = picture
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return picture

    def glance(self) -> "Glance":
        """What looks at a picture where it is written, without waiting for its turn."""
        return Glance(self._max_pixels)

    async def _decode(self, path: Path) -> Picture:
        loop = asyncio.get_running_loop()
        self.slots.waiting += 1
        try:
            pixels = await loop.run_in_executor(self._threads, pictures.measure, path, self._max_pixels)
            await self._budget.take(pixels)
        finally:
            self.slots.waiting -= 1
        self.slots.used += 1
        work = loop.run_in_executor(self._threads, pictures.inspect, path, self._max_pixels)
        # A thread decodes on when its caller is cancelled, and only then gives its pixels back.
        work.add_done_callback(lambda done: self._give_back(pixels, done))
        return await asyncio.shield(work)

    def _give_back(self, pixels: int, done: "asyncio.Future[Picture]") -> None:
        self.slots.used -= 1
        self._budget.give(pixels)
        let_fail(done)  # The caller may be gone.

    def close(self) -> None:
        """Let decodes that run come to their end, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Glance:
    """Decodes a picture in the thread that calls it, if it is so small that a call into another costs as much."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self.picture: Picture | None = None

    def __call__(self, content: bytes) -> None:
        """Decode a file's bytes; raises as Decoder.inspect. One of many pixels is left for that."""
        self.picture = pictures.glance(content, self._max_pixels)
