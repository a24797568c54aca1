"""What a request brings along: who asks, the album and its changes, and the loaders that join its statements."""

import asyncio
import time
from collections.abc import Mapping

import strawberry

from graphql_server import datasets, images
from graphql_server.album import Album
from graphql_server.errors import OperationTimedOut, Unavailable
from graphql_server.feed import Feed
from graphql_server.listings import Table
from graphql_server.schema.loaders import Loaders, Source
from graphql_server.schema.pacing import Pace
from graphql_server.users import User, Users

ALL = {table: table.columns for table in (datasets.TABLE, images.TABLE)}


class Context:
    """One request's context; nothing in it outlives the request."""

    loaders: Loaders
    in_parts = False  # whether lists may come piece by piece

    def __init__(self, album: Album, feed: Feed, users: Users, token: str | None) -> None:
        self.album = album
        self.feed = feed
        self._users = users
        self._token = token
        self.pace = Pace()
        self.until: float | None = None  # moments of time.monotonic(): nothing is changed after this one,
        self._end: float | None = None  # and nothing read after this one
        self._seconds = 0.0
        self._failure: Unavailable | None = None
        self._known: User | None = None
        self._user: asyncio.Task[User] | None = None

    def start(self, columns: Mapping[Table, tuple[str, ...]] = ALL, *, presume: bool = False) -> None:
        """Begin anew with nothing loaded, to read these columns."""
        self.pace.branches = 0
        source = Source(self.album.database, columns, self._failure, self._end)
        self.loaders = Loaders(source, self.pace, presume=presume)

    def fail(self, error: Exception) -> None:
        """Read nothing more from the next start on if something is away, so that none waits for it twice."""
        self._failure = error if isinstance(error, Unavailable) else None

    def hurry(self, until: float, seconds: float) -> None:
        """Read nothing and begin no change after that moment of time.monotonic().

        What was changed may then be read for so many seconds.
        """
        self.until = self._end = until
        self._seconds = seconds

    def check_time(self) -> None:
        """Raise OperationTimedOut where it is too late to change anything more."""
        if self.until is not None and time.monotonic() > self.until:
            raise OperationTimedOut("There was no time left to begin this (OPERATION_SECONDS).")

    def changed(self) -> None:
        """Forget what was loaded before a change; the change is done, so there is some time to tell of it."""
        self._failure, self._end = None, time.monotonic() + self._seconds
        self.start()

    @property
    def known(self) -> User | None:
        """Whoever asks, where that is certain by now."""
        if self._known is None:
            self._known = self._users.known(self._token)
        return self._known

    async def user(self) -> User:
        """Whoever asks, by the user server's word; it is asked once, however many root fields there are.

        Raises Unauthenticated and UserServerUnavailable.
        """
        if user := self.known:
            return user
        if self._user is None:
            self._user = asyncio.create_task(self._users.authenticate(self._token))
        self._known = await self._user
        return self._known


Info = strawberry.Info[Context, None]
