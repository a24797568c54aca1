"""Threads that wait for the disk: a network folder that does not answer may keep them, and nobody can stop them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from graphql_server.endings import ended

T = TypeVar("T")
Late = Callable[["Future[Any]"], object]


class Stalled(Exception):
    """A call was given up, or not begun since no thread is left; an OSError of a disk may be a TimeoutError as well."""


class Threads:
    """So many threads. A call that takes longer than `seconds` is given up, and its thread is lost until it ends."""

    def __init__(self, name: str, most: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._most = most
        self._seconds = seconds
        self._lost = set["Future[Any]"]()
        self._revocable = set["Future[Any]"]()

    async def run(
        self, call: Callable[..., T], *args: object, late: Late = lambda _: None, in_the_end: bool = False
    ) -> T:
        """Run a call to its end, also when the caller is cancelled: what follows may undo it.

        Raises Stalled where that takes too long, and at once where no thread is left; a call that has not begun is then
        dropped, unless it is to be done `in_the_end`. `late` is called, by a thread, when a call has ended for which
        nobody waits any more.
        """
        full = len(self._lost) >= self._most
        if full and not in_the_end:
            raise Stalled("no thread is left")
        loop = asyncio.get_running_loop()
        end = loop.time() + (0 if full else self._seconds)
        job = self._pool.submit(call, *args)
        if not in_the_end:
            self._revocable.add(job)
        wanted = True
        try:
            await _over(job, loop, end)
        except asyncio.CancelledError:
            await ended(asyncio.ensure_future(_over(job, loop, end)))
            if job.done():
                self._give_up(job, late)
                raise
            wanted = False  # also where it ends just now
        finally:
            self._revocable.discard(job)
        if wanted and job.done() and not job.cancelled():
            return job.result()
        if in_the_end or not job.cancel():
            self._give_up(job, late)
        raise Stalled(f"no answer within {self._seconds:g} seconds")

    def _give_up(self, job: "Future[Any]", late: Late) -> None:
        if job.cancelled():
            return
        if not job.done():
            self._lost.add(job)
        job.add_done_callback(partial(self._end, late))
        if len(self._lost) >= self._most:
            for waiting in tuple(self._revocable):
                waiting.cancel()  # where it has not begun

    def _end(self, late: Late, job: "Future[Any]") -> None:
        self._lost.discard(job)
        with suppress(RuntimeError):  # The server has stopped meanwhile; what is left the doctor removes.
            self._pool.submit(late, job)

    def close(self) -> None:
        """Let what the threads do come to its end, without waiting for it."""
        self._pool.shutdown(wait=False)


async def _over(job: "Future[Any]", loop: asyncio.AbstractEventLoop, end: float) -> None:
    """Wait until a job has ended or its time is over; asyncio.wait would take twice as long to set up."""
    over = loop.create_future()
    job.add_done_callback(partial(_tell_from_thread, loop, over))
    timer = loop.call_at(end, _tell, over)
    try:
        await over
    finally:
        timer.cancel()


def _tell_from_thread(loop: asyncio.AbstractEventLoop, over: "asyncio.Future[None]", _job: "Future[Any]") -> None:
    with suppress(RuntimeError):  # The server has stopped meanwhile.
        loop.call_soon_threadsafe(_tell, over)


def _tell(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)
