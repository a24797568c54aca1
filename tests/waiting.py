"""Waiting for what happens soon, in another thread or process."""

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
