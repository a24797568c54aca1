"""Runs an operation: parse, validate, execute, and say of each error what a client may know."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from inspect import isawaitable
from typing import Any, cast

import structlog
from graphql import DocumentNode, ExecutionResult, GraphQLError, OperationType
from graphql.execution import (  # half typed by graphql-core
    experimental_execute_incrementally,  # pyright: ignore[reportUnknownVariableType]
    subscribe,  # pyright: ignore[reportUnknownVariableType]
)
from strawberry.schema.config import StrawberryConfig

from graphql_server.deadlines import Deadline, Deadlines
from graphql_server.endings import to_the_end
from graphql_server.errors import BadRequest, QueryTooComplex
from graphql_server.planner import Payloads, Plan, Planner, Sure
from graphql_server.schema.answers import Answer, answer_of, formatted, refused, timed_out, told
from graphql_server.schema.context import Context
from graphql_server.schema.documents import MOST_ERRORS, Documents
from graphql_server.schema.fields import links_of
from graphql_server.schema.limits import Limits
from graphql_server.schema.mutation import Mutation
from graphql_server.schema.operations import Document, Operation, Ready
from graphql_server.schema.pacing import Host, PacedExecutor, Rounds
from graphql_server.schema.parts import PartingExecutor, Parts
from graphql_server.schema.payloads import Completion, PayloadExecutor
from graphql_server.schema.permissions import GuardedSchema
from graphql_server.schema.query import Query
from graphql_server.schema.scalars import SCALARS
from graphql_server.schema.subscription import Subscription
from graphql_server.schema.types import TABLES

SUBSCRIPTION = OperationType.SUBSCRIPTION.value
ONLY_STREAMS = (
    "A subscription is answered over a WebSocket, or to 'Accept: text/event-stream' or "
    "'Accept: multipart/mixed;subscriptionSpec=1.0'."
)

log = structlog.stdlib.get_logger(__name__)


def build_schema() -> GuardedSchema:
    return GuardedSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        federation_version="2.9",  # the newest that all three composers take
        config=StrawberryConfig(scalar_map=SCALARS, enable_experimental_incremental_execution=True),
    )


class Executor:
    """Runs operations on the schema: as planned, or by graphql-core where the planner cannot.

    It may be `sure` what a table's column holds. `planned` counts the operations that were answered as planned,
    `handed_over` those that graphql-core answered.
    """

    def __init__(
        self,
        limits: Limits,
        seconds: float,
        sure: Mapping[tuple[str, str], Sure],
        *,
        introspection: bool,
    ) -> None:
        self._limits = limits
        self._deadlines, self._seconds = Deadlines(), seconds
        self._introspection = introspection
        schema = build_schema()
        # Strawberry has no public way to graphql-core's schema.
        self._schema = schema._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        planner = Planner(self._schema, links_of(schema, TABLES, sure))
        self.documents = Documents(self._schema, planner, limits, introspection=introspection)
        self._rounds = Rounds()
        self.planned = self.handed_over = 0

    async def run(
        self,
        operation: Operation,
        context: Context,
        *,
        mutations: bool = True,
        subscriptions: bool = False,
        in_parts: bool = False,
    ) -> Answer | Parts | AsyncGenerator[Answer]:
        """Run an operation: an answer, parts, or an answer for each event where it is a subscription.

        The client takes what is asked for here, `in_parts` what a query puts off. Raises BadRequest for other types of
        operation, of which queries are always taken.
        """
        try:
            with Deadline(self._deadlines, self._seconds) as deadline:
                known = operation.plan
                if known and (data := await self._as_planned(known, operation, context)) is not None:
                    self.documents.found += 1
                    return Answer({"data": data}, operation="query")
                checked = self._checked(operation, await self.documents.get(operation.query, context.known))
                if isinstance(checked, Answer):
                    return checked
                document, ready = checked
                _check_kind(ready.node.operation, mutations=mutations, subscriptions=subscriptions)
                if in_parts and document.puts_off(ready, operation.variables):
                    context.hurry(deadline.end, self._seconds)
                    return await self._as_put_off(document, operation, context)
                conditions = ready.conditions(operation.variables)
                plan = ready.plans.get(conditions) or await self.documents.plan(ready, conditions, context.known)
                if isinstance(plan, Plan) and not known:
                    data = await self._as_planned(plan, operation, context)
                    if data is not None:
                        operation.plan = None if document.in_parts else plan
                        return Answer({"data": data}, operation="query")
                return await self._run(ready, plan, operation, context, deadline)
        except TimeoutError:
            return timed_out()

    async def _run(
        self, ready: Ready, plan: Plan | Payloads | None, operation: Operation, context: Context, deadline: Deadline
    ) -> Answer | AsyncGenerator[Answer]:
        """Run an operation by graphql-core, which leaves the payloads of a mutation to a plan where there is one."""
        kind = ready.node.operation
        if kind is OperationType.SUBSCRIPTION:
            deadline.lift()
            return await self._subscribe(ready, operation, context)
        if isinstance(plan, Payloads):
            result = self._with_payloads(plan, ready.document, operation, context)
        else:
            self.handed_over += 1
            result = self._by_core(ready.document, operation, context)
        if kind is OperationType.MUTATION:
            deadline.lift()
            context.hurry(deadline.end, self._seconds)
            result = to_the_end(result)  # also where its client has gone
        return answer_of(await result, kind.value)

    async def _as_put_off(self, document: Document, operation: Operation, context: Context) -> Answer | Parts:
        self.handed_over += 1
        context.in_parts = True
        result = await self._by_core(document.sent, operation, context, PartingExecutor)
        return answer_of(result, "query") if isinstance(result, ExecutionResult) else Parts(result)

    async def _subscribe(self, ready: Ready, operation: Operation, context: Context) -> Answer | AsyncGenerator[Answer]:
        """Begin a subscription: an answer for each event, or the refusal."""
        begun = subscribe(self._schema, ready.document, **self._options(operation, context))
        results = await begun if isawaitable(begun) else begun
        if not isinstance(results, ExecutionResult):
            return _answers(results)
        # As no event has come yet, there is no data either, not even null.
        return Answer({"errors": answer_of(results, SUBSCRIPTION).body["errors"]}, refused=True, operation=SUBSCRIPTION)

    def _checked(
        self, operation: Operation, document: Document | Sequence[GraphQLError]
    ) -> tuple[Document, Ready] | Answer:
        """The document and its operation that is to be run, or what that is refused for."""
        if not isinstance(document, Document):
            return Answer({"errors": [formatted(error) for error in document]}, refused=True)
        ready = document.operation(operation.name)
        if ready is None:
            return Answer({"errors": [formatted(_no_operation(operation.name))]}, refused=True)
        try:
            ready.cost.hold(operation.variables, self._limits)
        except QueryTooComplex as error:
            return refused(error, ready.node.operation.value)
        return document, ready

    async def _as_planned(self, plan: Plan, operation: Operation, context: Context) -> dict[str, Any] | None:
        """The data; None where anything went wrong, for graphql-core to tell what by running the query itself."""
        try:
            operation.coerced = variables = operation.coerced or plan.variables.coerced(operation.variables)
            for presume in (True, False):
                context.start(plan.columns, presume=presume)
                data = await plan.run(Host(context, self._rounds), variables)
                if not context.loaders.presumed or await context.loaders.proved():
                    self.planned += 1
                    return data
        except Exception as error:  # noqa: BLE001 - graphql-core meets it again, and tells it to the client and the log
            log.debug("handed over", reason=repr(error))
            context.fail(error)
            # Many variables take as long again to be looked at as they have taken: let others in between.
            await asyncio.sleep(0)
        return None

    async def _with_payloads(
        self, plan: Payloads, document: DocumentNode, operation: Operation, context: Context
    ) -> ExecutionResult:
        completion = Completion(plan, context, self._rounds)
        result = await self._by_core(document, operation, context, PayloadExecutor, completion=completion)
        planned = completion.planned > 0 == completion.handed_over
        self.planned += planned
        self.handed_over += not planned
        return result

    async def _by_core(
        self,
        document: DocumentNode,
        operation: Operation,
        context: Context,
        executor: type[PacedExecutor] = PacedExecutor,
        **more: Any,
    ) -> Any:
        # Its `execute` refuses a schema that has @defer.
        begun = experimental_execute_incrementally(
            self._schema, document, **self._options(operation, context, executor), **more
        )
        return await begun if isawaitable(begun) else begun

    def _options(
        self, operation: Operation, context: Context, executor: type[PacedExecutor] = PacedExecutor
    ) -> dict[str, Any]:
        context.start()
        return {
            "context_value": context,
            "variable_values": dict(operation.variables),
            "operation_name": operation.name,
            "max_coercion_errors": MOST_ERRORS,
            "executor_class": executor,
            "hide_suggestions": not self._introspection,
            "rounds": self._rounds,
            "pace": context.pace,
        }


def _check_kind(kind: OperationType, *, mutations: bool, subscriptions: bool) -> None:
    if not subscriptions and kind is OperationType.SUBSCRIPTION:
        raise BadRequest(ONLY_STREAMS, 406, "NOT_ACCEPTABLE")
    if not mutations and kind is OperationType.MUTATION:
        raise BadRequest("GET only queries; send mutations by POST.", 405, "METHOD_NOT_ALLOWED")


def _no_operation(name: str | None) -> GraphQLError:
    message = f"There is no operation '{name}'." if name else "Say which operation to run: operationName."
    return GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})


async def _answers(results: AsyncIterator[ExecutionResult]) -> AsyncGenerator[Answer]:
    """An answer for each event; what ends the events before their time is the last, and is a refusal."""
    try:
        async with aclosing(cast("AsyncGenerator[ExecutionResult]", results)) as events:
            async for result in events:
                yield answer_of(result, SUBSCRIPTION)
    except Exception as error:  # noqa: BLE001 - what no client is meant to see is masked and logged
        yield Answer({"errors": [told(GraphQLError(str(error), original_error=error))]}, refused=True)
