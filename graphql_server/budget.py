"""What there is only so much of, for tasks that each need a part."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial


class Budget:
    """Pixels, or bytes, that tasks may have at the same time, given out in the order in which they were asked for."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._first = asyncio.Lock()  # It is fair, so that many small pictures keep no large one waiting for ever.
        self._given = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until so many, no more than the whole budget, are left."""
        async with self._first:
            while size > self._left:
                self._given.clear()
                await self._given.wait()
            self._left -= size

    def give(self, size: int) -> None:
        self._left += size
        self._given.set()

    @asynccontextmanager
    async def share(self, size: int, seconds: float) -> AsyncGenerator["Share"]:
        """Have a part until the block ends; but only for so many seconds, unless it is settled by then."""
        await self.take(size)
        share = Share(partial(self.give, size), seconds)
        try:
            yield share
        finally:
            share.end()


class Share:
    """A part of a budget that somebody has, or has had."""

    def __init__(self, give: Callable[[], None], seconds: float) -> None:
        self._give: Callable[[], None] | None = give
        self._late = asyncio.get_running_loop().call_later(seconds, self.end)

    def settle(self) -> None:
        self._late.cancel()

    def end(self) -> None:
        self._late.cancel()
        if self._give:
            self._give()
            self._give = None
