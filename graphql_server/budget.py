"""What there is only so much of, for tasks that each need a part."""

import asyncio


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
