"""Work that is done for many at once: whoever comes while it is done is of the next group."""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from graphql_server.endings import ended, let_fail
from graphql_server.errors import DatabaseUnavailable, OperationTimedOut, StorageStalled

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False, slots=True)
class Member(Generic[T, R]):
    """One who waits, since a moment of the event loop's clock; of two with a name in common only one is in a group."""

    thing: T
    names: frozenset[str]
    result: "asyncio.Future[R]"
    since: float
    gone: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class Groups(Generic[T, R]):
    """Does one kind of work for all who wait, `most` at once, one group after the other.

    `work` is given the things of a group and the moment since which they have waited in vain: the first of them came
    then, or a group before them was done or had waited for the folder of pictures. It gives for each thing what became
    of it, perhaps an error.
    """

    def __init__(self, work: Callable[[Sequence[T], float], Awaitable[Sequence[R | Exception]]], most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: list[Member[T, R]] = []
        self._group: list[Member[T, R]] = []
        self._task: asyncio.Task[None] | None = None
        self._done = -math.inf  # when a group was done last, or its work stalled

    async def add(self, thing: T, names: frozenset[str]) -> R:
        """Have the work done for a thing.

        When the caller is cancelled, it is not done any more, or has come to its end. It is broken off when all of
        its group are cancelled.
        """
        loop = asyncio.get_running_loop()
        member = Member(thing, names, loop.create_future(), loop.time())
        self._waiting.append(member)
        self._begin()
        try:
            return await asyncio.shield(member.result)
        except asyncio.CancelledError:
            await self._leave(member)
            raise

    async def _leave(self, member: Member[T, R]) -> None:
        if member in self._waiting:
            self._waiting.remove(member)
            return
        member.gone = True
        if self._task and all(each.gone for each in self._group):
            self._task.cancel()
        await ended(member.result)
        let_fail(member.result)

    def _begin(self) -> None:
        if self._task or not self._waiting:
            return
        self._group = self._next()
        # In the context of the first, whose request it then belongs to in the log and in traces.
        context = self._group[0].context
        self._task = asyncio.get_running_loop().create_task(self._run(self._group), context=context)
        self._task.add_done_callback(self._ended)

    def _next(self) -> list[Member[T, R]]:
        group, left, names = list[Member[T, R]](), list[Member[T, R]](), set[str]()
        for member in self._waiting:
            fits = len(group) < self._most and names.isdisjoint(member.names)
            (group if fits else left).append(member)
            names |= member.names  # of those that are left as well: they keep their order
        self._waiting = left
        return group

    async def _run(self, group: Sequence[Member[T, R]]) -> None:
        for member, outcome in zip(group, await self._outcomes(group), strict=True):
            if isinstance(outcome, Exception):
                member.result.set_exception(outcome)
            else:
                member.result.set_result(outcome)

    async def _outcomes(self, group: Sequence[Member[T, R]]) -> Sequence[R | Exception]:
        try:
            outcomes = await self._work([member.thing for member in group], max(group[0].since, self._done))
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            if isinstance(error, StorageStalled):
                self._done = asyncio.get_running_loop().time()  # It was not the database that others waited for.
            # Where only one is to blame, the others must not suffer; what is away or slow is so for all.
            if len(group) == 1 or isinstance(error, DatabaseUnavailable | OperationTimedOut | StorageStalled):
                return [error] * len(group)
        else:
            self._done = asyncio.get_running_loop().time()
            return outcomes
        return [outcome for member in group for outcome in await self._outcomes([member])]

    def _ended(self, task: "asyncio.Task[None]") -> None:
        for member in self._group if task.cancelled() else ():
            member.result.cancel()
        self._task, self._group = None, []
        self._begin()
