"""Connections that stay open for what follows: how many there may be, and what ends them."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from graphql_server.errors import DatasetServerError, ServerStopping, TooManySubscriptions
from graphql_server.figures import Subscriptions
from graphql_server.http.service import Service
from graphql_server.schema.answers import Answer

# A token is asked about so often; the memory of Users answers most of it.
WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Connections of a process, and operations of one connection, that may be open at once."""

    connections: int
    subscriptions: int


class Live:
    """The connections of one process that stay open."""

    def __init__(self, service: Service, bounds: Bounds) -> None:
        self.service = service
        self.bounds = bounds
        self.subscriptions = Subscriptions()
        self.stopping = asyncio.Event()  # set when the server is told to stop

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


class Line:
    """A connection that was admitted: what is followed over it is counted, and what ends that before its time."""

    def __init__(self, live: Live, transport: str) -> None:
        self._live = live
        self._transport = transport
        self._cut_off: str | None = None  # the code of what has ended it

    async def watch(self, token: str | None) -> NoReturn:
        """Wait until the connection must end, and raise why: Unauthenticated, UserServerUnavailable, ServerStopping."""
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WATCH_SECONDS):
                        await self._live.stopping.wait()
                    raise ServerStopping("The server stops; subscribe again.")
                await self._live.service.users.authenticate(token)
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
                    self._live.service.operations.codes.update(answer.codes)
                    ended = answer.codes[0] if answer.refused else None
                    yield answer
        finally:
            figures.running[self._transport] -= 1
            if code := self._cut_off or ended:
                figures.cut_off[code] += 1
