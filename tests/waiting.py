"""Waiting for what happens soon, in another thread or process; and a clock for what must not happen too soon."""

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], seconds: float = 30, *, pause: float = 0.05) -> None:
    """Return once it is so: soon, but a busy machine may have other things to do first."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(pause)


class Clock:
    """A module's clock that goes when it is told to, however long a busy machine takes for what happens meanwhile."""

    perf_counter = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now
