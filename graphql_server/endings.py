"""Ends of what goes on although its task is cancelled: waited for, so that what follows may undo it, or passed over."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def ended(work: "asyncio.Future[Any]") -> None:
    """Wait for an end; further cancellations, as anyio's scopes send all the time, are passed over."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])


async def outcome(work: "asyncio.Future[T]") -> T:
    """What becomes of something that others wait for as well: unlike await, this ends it for nobody who gives up."""
    await asyncio.wait([work])
    return work.result()


async def to_the_end(call: Coroutine[Any, Any, T]) -> T:
    """Await a call to its end; where the task is cancelled meanwhile, that is raised after it."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await ended(task)
        task.result()
        raise


def let_fail(work: "asyncio.Future[Any]") -> None:
    """Pass over the error of something that has ended: where nobody asks for it, asyncio logs it with a traceback."""
    if not work.cancelled():
        work.exception()
