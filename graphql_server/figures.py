"""What is counted while the server runs: plain numbers, so that to count takes less than a microsecond.

Each part of the server keeps its own figures, whether or not anybody looks at them; `http/metrics.py` is the only
module that knows how they are told.
"""

import itertools
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

# In seconds: from what the quickest answer takes to what a client waits for at most.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROUTES = ("graphql", "graphiql", "media", "healthz", "readyz", "other")


class Durations:
    """How often something took how long: `counts[i]` took up to BOUNDS[i] seconds, and the last one longer."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, began: float) -> None:
        """Count what began at that time of `time.perf_counter()`, and ends now."""
        self.take(time.perf_counter() - began)

    def take(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Slots:
    """Things of which there are few: how many are in use, and how many tasks wait for one."""

    def __init__(self) -> None:
        self.used = 0
        self.waiting = 0


def route_of(path: str) -> str:
    """Which of ROUTES a request's path leads to."""
    first = path[1:].partition("/")[0]
    return first if first in ROUTES else "other"


class Traffic:
    """HTTP requests by route and status; neither holds anything that a client could choose."""

    def __init__(self) -> None:
        self.statuses = Counter[tuple[str, int]]()
        self.durations = {route: Durations() for route in ROUTES}

    def add(self, path: str, status: int, seconds: float) -> None:
        route = route_of(path)
        self.statuses[route, status] += 1
        self.durations[route].take(seconds)

    def refuse(self, status: int) -> None:
        """Count what is no whole request of HTTP, and so has no route."""
        self.statuses["other", status] += 1


class Operations:
    """GraphQL operations by type and outcome, and all errors in their answers by code."""

    TYPES = ("query", "mutation", "subscription", "unknown")
    OUTCOMES = ("ok", "errors", "refused")

    def __init__(self) -> None:
        self.durations: dict[tuple[str, str], Durations] = {
            key: Durations() for key in itertools.product(self.TYPES, self.OUTCOMES)
        }
        self.codes = Counter[str]()

    def add(self, operation: str, outcome: str, codes: Iterable[str], began: float) -> None:
        self.durations[operation, outcome].add(began)
        for code in codes:
            self.codes[code] += 1


class Subscriptions:
    """Connections that stay open and subscriptions on them, by transport, and by code what refused or ended them."""

    TRANSPORTS: tuple[str, ...] = ("websocket", "event-stream", "multipart")
    # There from the start, so that Prometheus sees the first one as an increase from 0.
    REFUSALS: tuple[str, ...] = ("FORBIDDEN", "TOO_MANY_SUBSCRIPTIONS", "UNAUTHENTICATED", "USER_SERVER_UNAVAILABLE")
    ENDS: tuple[str, ...] = (
        "CURSOR_EXPIRED",
        "SERVER_STOPPING",
        "TOO_SLOW",
        "UNAUTHENTICATED",
        "USER_SERVER_UNAVAILABLE",
    )

    def __init__(self) -> None:
        self.connections, self.running, self.begun = (dict.fromkeys(self.TRANSPORTS, 0) for _ in range(3))
        self.refused = Counter(dict.fromkeys(self.REFUSALS, 0))
        self.cut_off = Counter(dict.fromkeys(self.ENDS, 0))


class Statements:
    """Statements outside transactions, and transactions with all of their attempts."""

    def __init__(self) -> None:
        self.alone, self.transactions = Durations(), Durations()
        self.tried_again = self.unavailable = 0


class Questions:
    """Tokens whose answer was remembered, those about which the user server was asked, and what it answered."""

    def __init__(self) -> None:
        self.remembered = self.asked = 0
        self.answers = {answer: Durations() for answer in ("accepted", "refused", "unavailable")}


class Uploads:
    """Photos that were sent to be saved, by what became of them."""

    def __init__(self) -> None:
        self.saved = self.known = self.bytes = 0
        self.refused = Counter[str]()
        self.durations = Durations()
