"""What everything that stays open has in common: how much of it there may be, and what ends it."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from graphql_server.errors import ServerStopping, TooManySubscriptions
from graphql_server.feed import Feed
from graphql_server.images import Album
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Executor
from graphql_server.users import Users

# A token is asked about so often; the memory of Users answers most of it.
WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Connections of a process, and operations of one connection, that may be open at once."""

    connections: int
    subscriptions: int


class Live:
    """The open connections of one process, and what they are answered from."""

    def __init__(self, executor: Executor, album: Album, feed: Feed, users: Users, bounds: Bounds) -> None:
        self.executor = executor
        self.bounds = bounds
        self.stopping = asyncio.Event()  # set when the server is told to stop
        self.users = users
        self._album = album
        self._feed = feed
        self._open = 0

    def context(self, token: str | None) -> Context:
        return Context(self._album, self._feed, self.users, token)

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Count a connection until the block ends; TooManySubscriptions where there are too many."""
        if self._open >= self.bounds.connections:
            raise TooManySubscriptions("The server has as many subscribers as it takes; try again later.")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def watch(self, token: str | None) -> NoReturn:
        """Wait until a connection must end, and raise why: Unauthenticated, UserServerUnavailable, ServerStopping."""
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self.stopping.wait()
            except TimeoutError:
                await self.users.authenticate(token)
            else:
                raise ServerStopping("The server stops; subscribe again.")
