"""Limits to how long something may take, for what mostly ends at once.

asyncio.timeout sets a timer each time, and takes it back: some 5 microseconds, where a short read takes 20. Here one
timer looks, every 50 milliseconds, at all that is under way.
"""

import asyncio
import time
from types import TracebackType
from typing import Self

STEP = 0.05


class Deadlines:
    """The deadlines of one event loop's tasks."""

    def __init__(self) -> None:
        self.running: dict[Deadline, None] = {}
        self.loop: asyncio.AbstractEventLoop | None = None  # while somebody looks

    def watch(self) -> None:
        """Look from now on, until nothing is under way."""
        self.loop = asyncio.get_running_loop()
        self.loop.call_later(STEP, self._look, self.loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        soon = time.monotonic() + STEP
        for deadline in [each for each in self.running if each.end < soon]:
            del self.running[deadline]
            deadline.expire()
        if self.running:
            loop.call_later(STEP, self._look, loop)
        else:
            self.loop = None


class Deadline:
    """A block that may take so long, or one STEP less; it then ends with TimeoutError, as asyncio.timeout's."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "end", "expired")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self.end = time.monotonic() + seconds
        self.expired = False

    def __enter__(self) -> Self:
        deadlines = self._deadlines
        if deadlines.loop is None:
            deadlines.watch()
        deadlines.running[self] = None
        task = asyncio.current_task(deadlines.loop)
        assert task
        self._task, self._cancelling = task, task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if not self.expired:
            self._deadlines.running.pop(self, None)
        # A cancellation that came from elsewhere as well is not swallowed.
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def lift(self) -> None:
        """Let the block take as long as it likes from now on."""
        self._deadlines.running.pop(self, None)

    def expire(self) -> None:
        self.expired = True
        self._task.cancel()
