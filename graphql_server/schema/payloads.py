"""Completes what mutations give: as planned, or by graphql-core where that cannot be."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any

import structlog
from graphql import GraphQLNonNull
from graphql.execution.values import VariableValues

from graphql_server.planner import Payloads
from graphql_server.schema.context import Context
from graphql_server.schema.pacing import Host, PacedExecutor, Rounds

log = structlog.stdlib.get_logger(__name__)


class Completion:
    """Completes the payloads of one run of a mutation, and counts how many it could not."""

    def __init__(self, plan: Payloads, context: Context, rounds: Rounds) -> None:
        self._plan = plan
        self._context = context
        self._rounds = rounds
        self.planned = self.handed_over = 0

    async def completed(self, key: str, result: Any, variables: VariableValues, by_core: Callable[[], Any]) -> Any:
        """A field's result as the response has it: what is done is done, and only told of a second time."""
        context = self._context
        try:
            host = Host(context, self._rounds)
            completed = await self._plan.completed(key, result, host, variables)
        except Exception as error:  # noqa: BLE001 - graphql-core meets it again, and tells it to the client and the log
            log.debug("handed over", reason=repr(error))
            self.handed_over += 1
            context.fail(error)
            context.start()
        else:
            self.planned += 1
            return completed
        finally:
            context.pace.branches = 0  # nobody knows when graphql-core will ask
        completed = by_core()
        return await completed if isawaitable(completed) else completed


class PayloadExecutor(PacedExecutor):
    """graphql-core's executor, which runs a mutation's fields and leaves their payloads to a plan."""

    def __init__(self, *args: Any, completion: Completion, **options: Any) -> None:
        super().__init__(*args, **options)
        self._completion = completion

    def complete_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        complete: Callable[..., Any] = super().complete_value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - half typed
        arguments = (return_type, field_details_list, info, path, result, position_context)
        # graphql-core comes here a second time with what must not be null.
        if path.prev or isinstance(return_type, GraphQLNonNull) or info.field_name == "__typename":
            return complete(*arguments)
        return self._completion.completed(path.key, result, self.variable_values, partial(complete, *arguments))
