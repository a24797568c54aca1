"""What there is only so much of, for tasks that each need a part."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Budget:
    """Pixels that may be decoded at the same time, given out in the order in which they were asked for."""

    def __init__(self, pixels: int) -> None:
        self._left = pixels
        self._first = asyncio.Lock()  # It is fair, so that many small pictures keep no large one waiting for ever.
        self._given = asyncio.Event()

    async def take(self, pixels: int) -> None:
        """Wait until so many, no more than the whole budget, are left."""
        async with self._first:
            while pixels > self._left:
                self._given.clear()
                await self._given.wait()
            self._left -= pixels

    def give(self, pixels: int) -> None:
        self._left += pixels
        self._given.set()


class Places:
    """Room for so many, in the order in which they came; who takes long to settle gives the place away."""

    def __init__(self, number: int, patience: float) -> None:
        self._free = asyncio.Semaphore(number)
        self._patience = patience

    @asynccontextmanager
    async def place(self) -> AsyncGenerator["Place"]:
        """Wait for a place, and have it until the block ends, if `settle` is called in time."""
        await self._free.acquire()
        place = Place(self._free, self._patience)
        try:
            yield place
        finally:
            place.leave()


class Place:
    """A place that somebody has, or has had."""

    def __init__(self, free: asyncio.Semaphore, patience: float) -> None:
        self._free: asyncio.Semaphore | None = free
        self._late = asyncio.get_running_loop().call_later(patience, self.leave)

    def settle(self) -> None:
        self._late.cancel()

    def leave(self) -> None:
        self._late.cancel()
        if self._free:
            self._free.release()
            self._free = None
