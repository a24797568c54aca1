"""Tells those who follow what was changed, whichever process changed it, in order, nothing twice and nothing left out.

However many follow, one task reads the database: at once when this process has changed something, and twice a
second for what others change. It runs only while somebody follows.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from graphql_server import datasets, images
from graphql_server.changes import Kind
from graphql_server.database import Database
from graphql_server.endings import outcome
from graphql_server.engines import Row
from graphql_server.errors import CursorExpired, DatabaseUnfit, TooSlow, Unavailable

POLL_SECONDS = 0.5
PAUSE_SECONDS = 0.02  # between two reads, so that a storm of saves is read in batches
BATCH = 500
RECENT = 10_000  # more than are written while one transaction lasts
# Machines' clocks differ by less; what is older than this was settled long ago.
SETTLED = timedelta(seconds=60)
LARGEST = 2**63 - 1
EXPIRED = "The changes behind this cursor are not here: too old, or of another database. Read the lists anew."

COLUMNS = [f"d.{column}" for column in datasets.TABLE.columns] + [f"i.{column}" for column in images.TABLE.columns]
IMAGE = 4 + len(datasets.TABLE.columns)  # where an image's columns begin
CHANGES = (
    f"SELECT c.pk, c.kind, c.created_at, c.image_info_pk, {', '.join(COLUMNS)} FROM dataset_change c "
    "LEFT JOIN dataset_info d ON d.pk = c.dataset_info_pk LEFT JOIN image_info i ON i.pk = c.image_info_pk "
    "WHERE c.pk > ? AND c.pk <= ? ORDER BY c.pk LIMIT ?"
)

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a dataset; the rows are as they were when this was read, empty once they are gone."""

    pk: int
    kind: Kind
    created_at: object
    image_pk: int | None
    dataset: Row
    image: Row


class Follower:
    """What waits for one who follows, at most `most` changes."""

    def __init__(self, most: int) -> None:
        self._queue = asyncio.Queue[Change | None](most)
        self._over: Exception | None = None

    def put(self, change: Change) -> None:
        if self._queue.full():
            most = self._queue.maxsize
            self.end(TooSlow(f"More than {most} changes were waiting; begin again after the last cursor."))
        else:
            self._queue.put_nowait(change)

    def end(self, error: Exception) -> None:
        """Tell no more changes but this error."""
        self._over = error
        if self._queue.empty():
            self._queue.put_nowait(None)  # to whoever waits

    async def get(self) -> Change:
        """The next change; TooSlow where there were more than could wait."""
        if not self._over and (change := await self._queue.get()):
            return change
        assert self._over
        raise self._over


class Feed:
    """The changes of one database."""

    def __init__(self, database: Database, patience: float, most: int) -> None:
        """A gap among the keys is waited for as long as a transaction may take: `patience` seconds."""
        self._database = database
        self._patience = patience
        self._most = most
        self._followers = set[Follower]()
        self._starting: asyncio.Task[int] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._told = 0  # the key up to which everything has been told
        self._made: object = None  # when that change was made: in another database the key is another's, or nobody's
        self._waiting: dict[int, float] = {}  # keys after a gap, and since when they have been seen
        self._before = frozenset[int]()  # keys after a gap that were there when reading began

    async def check(self, after: int) -> None:
        """Raise CursorExpired unless everything after the key `after` is still kept."""
        ((oldest, newest),) = await self._database.fetch("SELECT MIN(pk), MAX(pk) FROM dataset_change")
        if not (oldest or 1) - 1 <= after <= (newest or 0):
            raise CursorExpired(EXPIRED)

    async def follow(self, after: int | None) -> AsyncGenerator[Change]:
        """What is changed from now on; where `after` is a key, all that was changed after it as well.

        Raises TooSlow where the changes are not taken as fast as they come, and CursorExpired where another database
        has taken this one's place, which does not know what was told: one restored, or a replica that was behind.
        """
        follower = Follower(self._most)
        self._followers.add(follower)
        try:
            told = self._told if self._reading else await self._started()
            old = self._before if after is None else frozenset[int]()
            at = told if after is None else after
            while at < told and (changes := await self._between(at, told)):
                for change in changes:
                    yield change
                at = changes[-1].pk
            while True:
                change = await follower.get()
                # Another process may have told somebody more than this one has read so far.
                if change.pk > at and change.pk not in old:
                    yield change
        finally:
            self._leave(follower)

    async def _started(self) -> int:
        """Wait until reading has begun, or has failed to, together with all who wait for that."""
        self._starting = self._starting or asyncio.create_task(self._start())
        return await outcome(self._starting)

    async def _start(self) -> int:
        await self._begin()
        self._starting, self._reading = None, asyncio.create_task(self._read_on())
        return self._told

    def _leave(self, follower: Follower) -> None:
        self._followers.discard(follower)
        if not self._followers:
            for task in filter(None, (self._starting, self._reading)):
                task.cancel()
            self._starting = self._reading = None

    async def _begin(self) -> None:
        """Find the key up to which nothing can be added any more, and what is already after it."""
        # MariaDB would look at all changes where both were one statement.
        settled = await self._database.fetch(
            "SELECT pk FROM dataset_change WHERE created_at < ? ORDER BY created_at DESC, pk DESC LIMIT 1",
            [datetime.now(UTC) - SETTLED],
        )
        first = settled[0][0] if settled else 0
        rows = await self._database.fetch(
            "SELECT pk, created_at FROM dataset_change WHERE pk >= ? ORDER BY pk DESC LIMIT ?", [first, RECENT]
        )
        made: dict[int, object] = dict(rows)
        told = min(made, default=0) if settled or len(made) == RECENT else 0
        while told + 1 in made:
            told += 1
        self._told, self._made = told, made.get(told)
        self._before = frozenset(pk for pk in made if pk > told)
        self._waiting = {}

    async def _read_on(self) -> None:
        while True:
            full = False
            try:
                full = await self._read()
            except (Unavailable, DatabaseUnfit):
                pass  # which is in the log; those who follow wait until it is back
            except Exception:
                log.exception("changes not read")
            if not full:
                await self._wait()

    async def _wait(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._database.changed.wait()
        self._database.changed.clear()

    async def _read(self) -> bool:
        """Tell what is new up to the first gap that may still be filled; whether there is more to be read."""
        read = await self._between(self._told - 1, LARGEST)
        if self._told and [(change.pk, change.created_at) for change in read[:1]] != [(self._told, self._made)]:
            await self._begin()
            for follower in self._followers:
                follower.end(CursorExpired(EXPIRED))
            return False
        now, waiting = asyncio.get_running_loop().time(), dict[int, float]()
        for change in read[1:] if self._told else read:
            since = self._waiting.get(change.pk, now)
            if waiting or (change.pk != self._told + 1 and now - since < self._patience):
                waiting[change.pk] = since
                continue
            self._told, self._made = change.pk, change.created_at
            for follower in self._followers:
                follower.put(change)
        self._waiting = waiting
        return len(read) == BATCH and not waiting

    async def _between(self, after: int, last: int) -> Sequence[Change]:
        rows = await self._database.fetch(CHANGES, [after, last, BATCH])
        return [Change(row[0], Kind(row[1]), row[2], row[3], _row(row[4:IMAGE]), _row(row[IMAGE:])) for row in rows]


def _row(joined: Row) -> Row:
    """A row beside a change; empty where there is none."""
    return () if joined[0] is None else tuple(joined)
