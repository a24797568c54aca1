"""Answers in parts: what a query puts off by @defer and @stream comes after the rest.

The parts are those of https://specs.apollo.dev/incremental/v0.2/, which graphql-core writes.
"""

from asyncio import Future, ensure_future, isfuture, wait
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import aclosing
from inspect import isawaitable
from typing import Any, cast

from graphql.error import located_error
from graphql.execution import ExperimentalIncrementalExecutionResults
from graphql.execution.executor import to_nodes
from graphql.execution.incremental.incremental_executor import IncrementalExecutor
from graphql.execution.incremental.stream_item_queue import StreamItemQueue

from graphql_server.endings import let_fail
from graphql_server.errors import BadUserInput
from graphql_server.schema.answers import told
from graphql_server.schema.pacing import PacedExecutor
from graphql_server.schema.pieces import PIECE

# To begin an item takes as long as so many of its fields.
FIELDS_PER_ITEM = 3


class Parts:
    """An answer in parts; `codes` are those of the errors in the parts that have been given so far."""

    operation = "query"

    def __init__(self, results: ExperimentalIncrementalExecutionResults) -> None:
        self._results = results
        self.codes: list[str] = []

    async def bodies(self) -> AsyncGenerator[dict[str, Any]]:
        """The parts one by one; what is not begun when this is closed is never done."""
        async with aclosing(self._results.subsequent_results) as later:
            yield self._body(self._results.initial_result)
            async for result in later:
                yield self._body(result)

    def _body(self, result: Any) -> dict[str, Any]:
        body: dict[str, Any] = result.formatted
        self._tell(result, body)
        for name in ("incremental", "completed"):
            for source, written in zip(getattr(result, name, None) or (), body.get(name, ()), strict=True):
                self._tell(source, written)
        return body

    def _tell(self, result: Any, written: dict[str, Any]) -> None:
        """Write errors as clients may see them."""
        if errors := getattr(result, "errors", None):
            written["errors"] = [told(error) for error in errors]
            self.codes += [error["extensions"]["code"] for error in written["errors"]]


class PartingExecutor(PacedExecutor, IncrementalExecutor):  # pyright: ignore[reportIncompatibleMethodOverride] - names alone
    """graphql-core's executor of what is put off, which keeps the pace and joins what streamed items ask for."""

    def execute_execution_group(
        self,
        delivery_groups: Any,
        parent_type: Any,
        source_value: Any,
        path: Any,
        grouped_field_set: Any,
        delivery_group_map: Any,
    ) -> Any:
        arguments = (delivery_groups, parent_type, source_value, path, grouped_field_set, delivery_group_map)
        return self._in_turn(len(grouped_field_set), super().execute_execution_group, arguments)

    def get_stream_usage(self, field_details_list: Any, path: Any) -> Any:
        try:
            return super().get_stream_usage(field_details_list, path)
        except ValueError as error:
            raise BadUserInput("initialCount is 0 or more.") from error

    def build_stream_item_queue(
        self,
        initial_index: int,
        stream_path: Any,
        iterator: Iterator[Any] | AsyncIterator[Any],
        field_details_list: Any,
        info: Any,
        item_type: Any,
        is_async: bool,  # noqa: FBT001 - as graphql-core calls it
    ) -> StreamItemQueue:
        """As graphql-core's own, which completes one item after the other: each would send a statement of its own."""
        items = cast("AsyncGenerator[Any]", iterator) if is_async else _one_by_one(cast("Iterator[Any]", iterator))

        async def complete(piece: Sequence[Any], index: int) -> AsyncGenerator[Any]:
            for at, item in enumerate(piece, index):
                if self._rounds.spent:
                    await self._pace.turn(self._rounds)
                self._rounds.add(FIELDS_PER_ITEM)
                executor = cast("Any", self.create_sub_executor())
                place = stream_path.add_key(at, None)
                yield executor.complete_stream_item(place, item, field_details_list, info, item_type)

        async def produce(queue: StreamItemQueue) -> None:
            index = initial_index
            try:
                async with aclosing(_together(items)) as pieces:
                    async for piece in pieces:
                        await _push(queue, complete(piece, index))
                        index += len(piece)
            except Exception as error:
                raise located_error(error, to_nodes(field_details_list), stream_path.as_list()) from error

        return StreamItemQueue(produce, lambda _: items.aclose())


async def _one_by_one(items: Iterator[Any]) -> AsyncGenerator[Any]:
    for item in items:
        yield item


async def _together(items: AsyncIterator[Any]) -> AsyncGenerator[list[Any]]:
    """The items, so many at once; also those that come before an error."""
    piece: list[Any] = []
    try:
        async for item in items:
            piece.append(item)
            if len(piece) == PIECE:
                yield piece
                piece = []
    except Exception:
        if piece:
            yield piece
        raise
    if piece:
        yield piece


def _begun(item: Awaitable[Any]) -> Future[Any]:
    task = ensure_future(item)
    task.add_done_callback(let_fail)  # The list may have failed by then, with another of its items.
    return task


async def _push(queue: StreamItemQueue, results: AsyncIterator[Any]) -> None:
    """Complete all items at the same time, and push them in their order as there is room, up to the first failure."""
    begun, failure = deque[Any](), None
    try:
        try:
            async for result in results:
                begun.append(_begun(result) if isawaitable(result) else result)
        except Exception as error:  # noqa: BLE001 - raised below, after what came before it
            failure = error
        waiting = [result for result in begun if isfuture(result)]
        while begun:
            await queue.push(begun[0])
            begun.popleft()
        # What they have asked for is there before the next ones ask for the same.
        if waiting:
            await wait(waiting)
    finally:
        for result in begun:
            if isfuture(result):
                result.cancel()
    if failure:
        raise failure
