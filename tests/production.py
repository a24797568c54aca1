"""A server whose event loop is watched, and the codes of what it answers."""

import asyncio
import time
from collections.abc import Callable

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

HELD_AT_MOST = 0.05  # seconds, of a machine that takes as many for what `seconds_of_computing` does


class Measured:
    """The server, and for how long its event loop was held at one go, in seconds of the loop's own computing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.longest = 0.0
        self._beat: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._beat is None:
            self._beat = asyncio.create_task(self._measure())
        await self.app(scope, receive, send)
        if scope["type"] == "lifespan":
            self._beat.cancel()

    def held_by(self, request: Callable[[], object]) -> float:
        """The least of five times: a busy machine makes a processor slower, but never quicker than it is."""
        times: list[float] = []
        while len(times) < 5 and min(times, default=1.0) >= HELD_AT_MOST:
            self.longest = 0.0
            request()
            times.append(self.longest)
        least = min(times)
        return least if least < HELD_AT_MOST else least * min(1.0, HELD_AT_MOST / seconds_of_computing())

    async def _measure(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.0005)
            self.longest = max(self.longest, time.thread_time() - began)


def seconds_of_computing() -> float:
    began = time.thread_time()
    sum(number % 7 for number in range(1_500_000))
    return time.thread_time() - began


def codes(answer: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in answer.json().get("errors", ())]
