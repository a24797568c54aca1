"""Runs an operation: parse, validate, execute, and say of each error what a client may know."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    OperationType,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)
from graphql.execution import execute  # pyright: ignore[reportUnknownVariableType] - half typed by graphql-core
from strawberry.schema.config import StrawberryConfig

from graphql_server.errors import BadRequest, DatasetServerError, QueryTooComplex
from graphql_server.schema.context import Context
from graphql_server.schema.limits import Limits, hold, hold_cost
from graphql_server.schema.mutation import Mutation
from graphql_server.schema.permissions import GuardedSchema
from graphql_server.schema.query import Query
from graphql_server.schema.scalars import SCALARS

# Documents that are remembered, parsed and validated; front ends send the same few over and over.
REMEMBERED = 500
LONGEST_REMEMBERED = 20_000
# A longer document that is new is prepared in a thread: it may take longer than others should wait.
LONGEST_AT_ONCE = 2000
LONGEST_DOCUMENT = 100_000
MOST_ERRORS = 5

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client wants to have run."""

    query: str
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The response; `refused`: it failed before execution, and so has no data at all."""

    body: dict[str, Any]
    refused: bool = False


def build_schema() -> GuardedSchema:
    return GuardedSchema(
        query=Query,
        mutation=Mutation,
        federation_version="2.9",  # the newest that all three composers take
        config=StrawberryConfig(scalar_map=SCALARS),
    )


class Executor:
    """Runs operations on the schema; keeps the documents that it has seen."""

    def __init__(self, limits: Limits, *, introspection: bool) -> None:
        self._limits = limits
        self._introspection = introspection
        # Strawberry has no public way to graphql-core's schema.
        self._schema = build_schema()._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        rules = specified_rules if introspection else [*specified_rules, NoSchemaIntrospectionCustomRule]
        self._rules = tuple(rules)
        self._documents: dict[str, DocumentNode | list[GraphQLError]] = {}

    async def run(self, operation: Operation, context: Context, *, mutations: bool = True) -> Answer:
        """Run an operation; without `mutations` (HTTP GET) only queries. Raises BadRequest for a mutation then."""
        document = await self._document(operation.query)
        if not isinstance(document, DocumentNode):
            return Answer({"errors": [error.formatted for error in document]}, refused=True)
        if refusal := self._refusal(document, operation, mutations=mutations):
            return Answer({"errors": [refusal.formatted]}, refused=True)
        result = execute(
            self._schema,
            document,
            context_value=context,
            variable_values=operation.variables,
            operation_name=operation.name,
            hide_suggestions=not self._introspection,
        )
        return _answer(result if isinstance(result, ExecutionResult) else await result)

    async def _document(self, query: str) -> DocumentNode | list[GraphQLError]:
        if (document := self._documents.get(query)) is not None:
            return document
        if len(query) <= LONGEST_AT_ONCE:
            document = self._prepare(query)
        else:
            document = await asyncio.to_thread(self._prepare, query)
        if len(query) <= LONGEST_REMEMBERED:
            if len(self._documents) >= REMEMBERED:
                del self._documents[next(iter(self._documents))]
            self._documents[query] = document
        return document

    def _prepare(self, query: str) -> DocumentNode | list[GraphQLError]:
        try:
            document = parse(
                query,
                max_lexical_tokens=self._limits.tokens,
                max_comments=self._limits.tokens,
                max_source_length=LONGEST_DOCUMENT,
            )
            hold(document, self._limits)
        except GraphQLError as error:
            return [_coded(error, "GRAPHQL_PARSE_FAILED")]
        except QueryTooComplex as error:
            return [GraphQLError(str(error), original_error=error)]
        hidden = not self._introspection
        errors = validate(self._schema, document, self._rules, max_errors=MOST_ERRORS, hide_suggestions=hidden)
        return [_coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors] or document

    def _refusal(self, document: DocumentNode, operation: Operation, *, mutations: bool) -> GraphQLError | None:
        wanted = get_operation_ast(document, operation.name)
        if wanted is None:
            name = operation.name
            message = f"There is no operation '{name}'." if name else "Say which operation to run: operationName."
            return GraphQLError(message, extensions={"code": "OPERATION_RESOLUTION_FAILURE"})
        if not mutations and wanted.operation is not OperationType.QUERY:
            raise BadRequest("GET only queries; send mutations by POST.", 405, "METHOD_NOT_ALLOWED")
        try:
            hold_cost(document, wanted, operation.variables, self._limits.cost)
        except QueryTooComplex as error:
            return GraphQLError(str(error), original_error=error)
        return None


def _answer(result: ExecutionResult) -> Answer:
    if not result.errors:
        return Answer({"data": result.data})
    if result.data is None and all(error.path is None for error in result.errors):
        # graphql-core refuses variables here, before it executes anything.
        return Answer({"errors": [_coded(error, "BAD_USER_INPUT").formatted for error in result.errors]}, refused=True)
    return Answer({"errors": [_shown(error).formatted for error in result.errors], "data": result.data})


def _coded(error: GraphQLError, code: str) -> GraphQLError:
    error.extensions = {"code": code, **(error.extensions or {})}
    return error


def _shown(error: GraphQLError) -> GraphQLError:
    """The error as it is, if it is meant for clients; otherwise one that only names its entry in the log."""
    cause = _origin(error)
    if isinstance(cause, DatasetServerError):
        return error
    if cause is None:
        return _coded(error, "BAD_USER_INPUT")
    reference = secrets.token_hex(4)
    log.error("resolver failed", reference=reference, path=error.path, exc_info=cause)
    return GraphQLError(
        f"Something went wrong on the server; its log has the details under {reference}.",
        nodes=error.nodes,
        path=error.path,
        extensions={"code": DatasetServerError.code, "reference": reference},
    )


def _origin(error: GraphQLError) -> Exception | None:
    original = error.original_error
    return _origin(original) if isinstance(original, GraphQLError) else original
