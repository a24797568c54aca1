"""Answers, and what a client may know of each error."""

import secrets
from dataclasses import dataclass
from typing import Any

import structlog
from graphql import ExecutionResult, GraphQLError

from graphql_server.errors import DatasetServerError, OperationTimedOut
from graphql_server.schema.documents import coded

# graphql-core repeats in its messages what it was sent, and lists every place: an answer should not outgrow its cause.
LONGEST_MESSAGE = 300
MOST_PLACES = 3

log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """The response; `refused`: it failed before execution, and so has no data at all.

    `operation` is query, mutation or subscription, or unknown where none could be found in the document.
    """

    body: dict[str, Any]
    refused: bool = False
    operation: str = "unknown"

    @property
    def outcome(self) -> str:
        return "refused" if self.refused else "errors" if "errors" in self.body else "ok"

    @property
    def codes(self) -> list[str]:
        """The code of each error."""
        return [error["extensions"]["code"] for error in self.body["errors"]] if "errors" in self.body else []


def refused(error: DatasetServerError, operation: str = "unknown") -> Answer:
    """The answer to a request that is refused before its operation is run, perhaps before that is known."""
    return Answer(
        {"errors": [formatted(GraphQLError(str(error), original_error=error))]}, refused=True, operation=operation
    )


def timed_out() -> Answer:
    """The answer to a query that was cut off: what it had read by then is not told."""
    error = OperationTimedOut("The operation took longer than it may (OPERATION_SECONDS).")
    body = {"errors": [formatted(GraphQLError(str(error), original_error=error))], "data": None}
    return Answer(body, operation="query")


def answer_of(result: ExecutionResult, operation: str) -> Answer:
    """The answer that graphql-core's result is; `operation` is its type."""
    if not result.errors:
        return Answer({"data": result.data}, operation=operation)
    if result.data is None and all(error.path is None for error in result.errors):
        # graphql-core refuses variables here, before it executes anything.
        errors = [formatted(coded(error, "BAD_USER_INPUT")) for error in result.errors]
        return Answer({"errors": errors}, refused=True, operation=operation)
    errors = [told(error) for error in result.errors]
    return Answer({"errors": errors, "data": result.data}, operation=operation)


def told(error: GraphQLError) -> dict[str, Any]:
    """An error of execution as a client is told of it; what no client is meant to see is masked and logged."""
    return formatted(_shown(error))


def formatted(error: GraphQLError) -> dict[str, Any]:
    """The error as an answer has it."""
    written: dict[str, Any] = {**error.formatted}
    if len(error.message) > LONGEST_MESSAGE:
        written["message"] = error.message[:LONGEST_MESSAGE] + "…"
    if error.locations:
        written["locations"] = written["locations"][:MOST_PLACES]
    return written


def _shown(error: GraphQLError) -> GraphQLError:
    """The error as it is, if it is meant for clients; otherwise one that only names its entry in the log."""
    cause = _origin(error)
    if isinstance(cause, DatasetServerError):
        return error
    if cause is None:
        return coded(error, "BAD_USER_INPUT")
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
