"""What operations are answered from in whichever way they come, how much may stay open, and what ends it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Generator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import NoReturn

from graphql import OperationType

from graphql_server.album import Album
from graphql_server.errors import (
    DatasetServerError,
    NotPersisted,
    ServerStopping,
    TooManySubscriptions,
    Unauthenticated,
    UserServerUnavailable,
)
from graphql_server.feed import Feed
from graphql_server.figures import Operations, Subscriptions
from graphql_server.http.persisted import Persisted
from graphql_server.schema.answers import Answer, refused
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Executor
from graphql_server.schema.operations import Operation
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
        self.operations, self.subscriptions = Operations(), Subscriptions()
        self.named = 0  # operations whose document was named and found, not sent
        self._persisted = persisted
        self._album = album
        self._feed = feed

    def context(self, token: str | None) -> Context:
        return Context(self._album, self._feed, self.users, token)

    def answer(
        self,
        operation: Operation,
        context: Context,
        headers: Mapping[bytes, bytes],
        *,
        mutations: bool = True,
        subscriptions: bool = True,
        in_parts: bool = False,
    ) -> Awaitable[Answer | Parts | AsyncGenerator[Answer]]:
        """Answer an operation, a persisted one too; an answer for each event where it is a subscription.

        The client takes what is asked for here, `in_parts` what a query puts off. Raises BadRequest for other types of
        operation, of which queries are always taken.
        """
        # Of most there is nothing to be found out first, and a coroutine more costs as much as to count them.
        if operation.document_id or self._persisted.always or subscriptions:
            return self._resolved(operation, context, headers, mutations, subscriptions, in_parts)
        return self.executor.run(operation, context, mutations=mutations, in_parts=in_parts)

    async def _resolved(
        self,
        operation: Operation,
        context: Context,
        headers: Mapping[bytes, bytes],
        mutations: bool,  # noqa: FBT001 - as `answer` is asked
        subscriptions: bool,  # noqa: FBT001
        in_parts: bool,  # noqa: FBT001
    ) -> Answer | Parts | AsyncGenerator[Answer]:
        if operation.document_id or self._persisted.always:
            sent = operation.query
            try:
                operation = await self._persisted.resolve(operation, context, headers)
            except (NotPersisted, Unauthenticated, UserServerUnavailable) as error:
                return refused(error)
            self.named += not sent
        if subscriptions and await self.executor.kind(operation, context) is OperationType.SUBSCRIPTION:
            return await self.executor.subscribe(operation, context)
        return await self.executor.run(operation, context, mutations=mutations, in_parts=in_parts)

    @contextmanager
    def admitted(self, transport: str) -> "Generator[Line]":
        """Count a connection until the block ends; TooManySubscriptions where there are too many."""
        connections = self.subscriptions.connections
        if sum(connections.values()) >= self.bounds.connections:
            self.subscriptions.refused[TooManySubscriptions.code] += 1
            raise TooManySubscriptions("The server has as many subscribers as it takes; try again later.")
        connections[transport] += 1
        try:
            yield Line(self, transport)
        finally:
            connections[transport] -= 1

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


class Line:
    """A connection that was admitted: what is followed over it is counted, and what ends that before its time."""

    def __init__(self, live: Live, transport: str) -> None:
        self._live = live
        self._transport = transport
        self._cut_off: str | None = None  # the code of what has ended it

    async def watch(self, token: str | None) -> NoReturn:
        """As `Live.watch`."""
        try:
            await self._live.watch(token)
        except DatasetServerError as error:
            self._cut_off = error.code
            raise

    async def follow(self, answers: AsyncGenerator[Answer]) -> AsyncGenerator[Answer]:
        """The answers of a subscription, which runs until they end."""
        figures, ended = self._live.subscriptions, None
        figures.begun[self._transport] += 1
        figures.running[self._transport] += 1
        try:
            async with aclosing(answers):
                async for answer in answers:
                    self._live.operations.codes.update(answer.codes)
                    ended = answer.codes[0] if answer.refused else None
                    yield answer
        finally:
            figures.running[self._transport] -= 1
            if code := self._cut_off or ended:
                figures.cut_off[code] += 1
