"""Lets other requests in while a long answer is put together.

graphql-core completes a list at one go: a page of a thousand images, all of their fields, holds the event loop for
150 milliseconds, and twenty such pages in one operation for three seconds. Here objects are completed at one go
only until so many fields are done in this round of the event loop; what comes then waits for the next round.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from typing import Any, cast
from weakref import proxy

from graphql import GraphQLObjectType, GraphQLResolveInfoHelpers
from graphql.execution import Executor

# A field takes about 10 microseconds.
FIELDS = 500
LONGEST_AT_ONCE = 50  # items of a list
# An object's fields begin a round later than the object; so many objects may lie between a list and what is loaded.
LEVELS = 5


class Rounds:
    """So many fields in each round of the event loop, for all requests of a server together."""

    def __init__(self) -> None:
        self._done = 0
        self._waiting = deque[asyncio.Future[None]]()

    @property
    def spent(self) -> bool:
        return self._done >= FIELDS

    def add(self, fields: int) -> None:
        if not self._done:
            asyncio.get_running_loop().call_soon(self._renew)
        self._done += fields

    async def turn(self) -> None:
        """Wait until there is room in a round."""
        while self.spent:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def _renew(self) -> None:
        self._done = 0
        # Each of them does one field at least, so that no more than these find room.
        for _ in range(min(FIELDS, len(self._waiting))):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
        if self._waiting:
            self.add(1)


class Pace:
    """How far one request is: whether some of its objects still wait for their turn."""

    def __init__(self) -> None:
        self._waiting = 0
        self._kept = False
        # How many may ask the database at the same time; 0 where nobody knows.
        self.branches = 0

    @contextmanager
    def waiting(self) -> Generator[None]:
        self._waiting, self._kept = self._waiting + 1, True
        try:
            yield
        finally:
            self._waiting -= 1

    async def turn(self, rounds: Rounds) -> None:
        """Wait until there is room in a round."""
        with self.waiting():
            await rounds.turn()

    async def settled(self) -> None:
        """Wait until no object waits; what all of them ask the database for can then be one statement."""
        quiet = 0
        while quiet < (LEVELS if self._kept else 1):
            await asyncio.sleep(0)
            quiet = 0 if self._waiting else quiet + 1


class PacedExecutor(Executor[Any]):
    """graphql-core's executor, which keeps the pace."""

    def __init__(self, *args: Any, rounds: Rounds, pace: Pace, **options: Any) -> None:
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType] - half typed by graphql-core
        # graphql-core's own hold their executor, which holds them: what a request was made of waited for the collector.
        gather, track = Executor[Any].gather_async_work, Executor[Any].track_async_work
        self.async_helpers = GraphQLResolveInfoHelpers(partial(gather, proxy(self)), partial(track, proxy(self)))
        self._rounds = rounds
        self._pace = pace
        self._begun = set[asyncio.Task[Any]]()

    def execute_collected_subfields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Any,
        grouped_field_set: Any,
        new_defer_usages: Any,
        position_context: Any,
    ) -> Any:
        arguments = (parent_type, source_value, path, grouped_field_set, new_defer_usages, position_context)
        return self._in_turn(len(grouped_field_set), super().execute_collected_subfields, arguments)

    def _in_turn(self, fields: int, complete: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Complete so many fields now, or in a round that has room."""
        if self._rounds.spent:
            return self._later(fields, complete, arguments)
        self._rounds.add(fields)
        return complete(*arguments)

    async def _later(self, fields: int, complete: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        await self._pace.turn(self._rounds)
        self._rounds.add(fields)
        completed = complete(*arguments)
        return await completed if isawaitable(completed) else completed

    def complete_list_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        items = cast("list[Any]", result)
        # A list that cannot be done in this round asks for its turn item by item; a future for each would be dear.
        if isinstance(result, list) and (self._rounds.spent or len(items) > LONGEST_AT_ONCE):
            result = self._paced(items)
        complete: Callable[..., Any] = super().complete_list_value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - as above
        return complete(return_type, field_details_list, info, path, result, position_context)

    async def _paced(self, items: list[Any]) -> AsyncGenerator[Any]:
        try:
            for item in items:
                if self._rounds.spent:
                    await self._pace.turn(self._rounds)
                yield item  # and wait for no more than a turn: who streams the list may take its time
        except BaseException:
            for task in self._begun:
                task.cancel()
            raise

    def complete_list_item_value(  # pyright: ignore[reportIncompatibleMethodOverride] - names alone
        self, item: Any, complete_results: list[Any], *arguments: Any
    ) -> bool:
        waits = super().complete_list_item_value(item, complete_results, *arguments)  # pyright: ignore[reportUnknownMemberType] - as above
        # graphql-core begins with all items that wait for something at one go, when it has looked at the last one.
        if waits and len(complete_results) > LONGEST_AT_ONCE:
            complete_results[-1] = task = asyncio.ensure_future(complete_results[-1])
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)
        return waits


# A value is read and written in a hundredth of the time that graphql-core takes for a field.
VALUES_PER_FIELD = 100


class Host:
    """Runs a plan at the same pace; resolvers that want more for `info` are run by graphql-core."""

    def __init__(self, context: Any, rounds: Rounds) -> None:
        self.context = context
        self.values = 0
        self._rounds = rounds
        self._pace: Pace = context.pace
        self._pace.branches = 1

    async def turn(self) -> None:
        if self._rounds.spent:
            await self._pace.turn(self._rounds)
        self._rounds.add(self.values // VALUES_PER_FIELD + 1)
        self.values = 0

    async def together(self, branches: Sequence[Awaitable[list[Any]]]) -> list[list[Any]]:
        self._pace.branches += len(branches) - 1
        # None is left running behind the back of an error.
        found = await asyncio.gather(*(self._branch(branch) for branch in branches), return_exceptions=True)
        self._pace.branches += 1
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return cast("list[list[Any]]", found)

    async def _branch(self, branch: Awaitable[list[Any]]) -> list[Any]:
        try:
            return await branch
        finally:
            self._pace.branches -= 1
