"""How long an operation may take: a query is then cut off, and a mutation begins nothing more.

A mutation is not cut off, because nobody would know what it has changed.
"""

import asyncio
from types import TracebackType
from typing import Self

from graphql_server.errors import OperationTimedOut


class Deadline:
    """When an operation must have ended, in the event loop's time; a context manager around it."""

    __slots__ = ("_deadlines", "_expired", "_task", "end")

    def __init__(self, deadlines: "Deadlines", task: "asyncio.Task[object] | None", end: float) -> None:
        self._deadlines = deadlines
        self._task = task
        self._expired = False
        self.end = end

    def __enter__(self) -> Self:
        self._deadlines.running[self] = None
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self.lift()
        if self._expired and self._task and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise OperationTimedOut("The operation took longer than it may (OPERATION_SECONDS).") from None

    def lift(self) -> None:
        """Cut off no more."""
        self._deadlines.running.pop(self, None)

    def expire(self) -> None:
        """Cut the operation off."""
        self.lift()
        self._expired = True
        if self._task:
            self._task.cancel()


class Deadlines:
    """The operations that are running, the oldest first. One timer looks after all of them: each would cost 2 µs."""

    def __init__(self, seconds: float) -> None:
        self.running: dict[Deadline, None] = {}
        self.seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> Deadline:
        """The deadline of an operation that this task begins now."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look)
        return Deadline(self, asyncio.current_task(), loop.time() + self.seconds)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while (oldest := next(iter(self.running), None)) and oldest.end <= loop.time():
            oldest.expire()
        self._timer = loop.call_at(oldest.end, self._look) if oldest else None
