"""What operations are answered from in whichever way they come, how much may stay open, and what ends it."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from graphql import OperationType

from graphql_server.album import Album
from graphql_server.errors import (
    NotPersisted,
    ServerStopping,
    TooManySubscriptions,
    Unauthenticated,
    UserServerUnavailable,
)
from graphql_server.feed import Feed
from graphql_server.http.persisted import Persisted
from graphql_server.schema.answers import Answer, refused
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Executor, Operation
from graphql_server.schema.parts import Parts
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

    def __init__(
        self, executor: Executor, persisted: Persisted, album: Album, feed: Feed, users: Users, bounds: Bounds
    ) -> None:
        self.executor = executor
        self.bounds = bounds
        self.stopping = asyncio.Event()  # set when the server is told to stop
        self.users = users
        self.named = 0  # operations whose document was named and found, not sent
        self._persisted = persisted
        self._album = album
        self._feed = feed
        self._open = 0

    def context(self, token: str | None) -> Context:
        return Context(self._album, self._feed, self.users, token)

    async def answer(
        self,
        operation: Operation,
        context: Context,
        headers: Mapping[bytes, bytes],
        *,
        mutations: bool = True,
        subscriptions: bool = True,
        in_parts: bool = False,
    ) -> Answer | Parts | AsyncGenerator[Answer]:
        """Answer an operation, a persisted one too; an answer for each event where it is a subscription.

        The client takes what is asked for here, `in_parts` what a query puts off. Raises BadRequest for other types of
        operation, of which queries are always taken.
        """
        if operation.document_id or self._persisted.always:
            sent = operation.query
            try:
                operation = await self._persisted.resolve(operation, context, headers)
            except (NotPersisted, Unauthenticated, UserServerUnavailable) as error:
                return refused(error)
            self.named += not sent
        if subscriptions and await self.executor.kind(operation) is OperationType.SUBSCRIPTION:
            return await self.executor.subscribe(operation, context)
        run = self.executor.in_parts if in_parts else self.executor.run
        return await run(operation, context, mutations=mutations)

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
