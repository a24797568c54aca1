"""Parses and validates documents, and remembers those that were good: front ends send the same few over and over."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)
from graphql.language.parser import MAX_NESTING_DEPTH

from graphql_server.errors import QueryTooComplex
from graphql_server.planner import Payloads, Plan, Planner
from graphql_server.schema.cost import Cost
from graphql_server.schema.limits import LONGEST_DOCUMENT, Limits, hold, passed
from graphql_server.schema.operations import Document, Ready
from graphql_server.schema.recent import Recent

# A document takes some 200 bytes for each of its characters when it is parsed.
REMEMBERED_CHARACTERS = 200_000
STRANGERS_CHARACTERS = 50_000  # of those that came from people who were not known by then
PLANS = 16  # that are remembered of one operation, which has one for each set of values of its conditions
# In place of graphql-core's own words, which have no number.
TOO_DEEP = f"The document nests fields, values or types more than {MAX_NESTING_DEPTH} levels deep."
T = TypeVar("T")
# Of more errors than these only the number is too high, and one more error says so.
MOST_ERRORS = 4


class Documents:
    """Documents that are good to run on one schema."""

    def __init__(self, schema: GraphQLSchema, planner: Planner, limits: Limits, *, introspection: bool) -> None:
        self._schema = schema
        self._planner = planner
        self._limits = limits
        self._hidden = not introspection
        self._rules = [*specified_rules] if introspection else [*specified_rules, NoSchemaIntrospectionCustomRule]
        self._remembered = Recent[Document](REMEMBERED_CHARACTERS)
        self._strangers = Recent[Document](STRANGERS_CHARACTERS)
        self.found = self.prepared = 0
        # One thread of its own: hostile documents take turns with each other, and neither stop the event loop nor
        # take the threads that write files.
        self._thread = ThreadPoolExecutor(1, "documents")
        # Each goes to that thread when the one before is done, for whoever waits may wait for the same; strangers
        # have turns of their own, so that a known user's waits behind one of theirs at most.
        self._turn, self._strangers_turn = asyncio.Lock(), asyncio.Lock()

    def __len__(self) -> int:
        return len(self._remembered) + len(self._strangers)

    async def get(self, query: str, known: object) -> Document | Sequence[GraphQLError]:
        """The document, or what is wrong with it; `known` is the user who sends it, where that is certain by now."""
        if document := self._found(query, known):
            return document
        async with self._turn if known else self._strangers_turn:
            if document := self._found(query, known):
                return document
            self.prepared += 1
            prepared = await self._apart(self._prepare, query)
            if isinstance(prepared, Document):
                (self._remembered if known else self._strangers).put(query, prepared, len(query))
            return prepared

    def _found(self, query: str, known: object) -> Document | None:
        document = self._remembered.get(query)
        if document is None and (document := self._strangers.get(query)) and known:
            self._remembered.put(query, document, len(query))
        self.found += document is not None
        return document

    def fault(self, query: str) -> str:
        """What keeps a document from being run, whatever variables may come with it; nothing is an empty text."""
        document = self._prepare(query)
        if not isinstance(document, Document):
            return document[0].message
        try:
            for node in document.sent.definitions:
                if isinstance(node, OperationDefinitionNode):
                    least = {item.variable.name.value: 0 for item in node.variable_definitions or ()}
                    Cost(document.sent, node).hold(least, self._limits)
        except QueryTooComplex as error:
            return str(error)
        return ""

    async def plan(
        self, operation: Ready, conditions: tuple[bool, ...] | None, known: object
    ) -> Plan | Payloads | None:
        """The plan for an operation under these conditions; None where graphql-core must run it."""
        if conditions is None:
            return None
        if conditions not in operation.plans:
            async with self._turn if known else self._strangers_turn:
                await self._make(operation, conditions)
        return operation.plans[conditions]

    async def _make(self, operation: Ready, conditions: tuple[bool, ...]) -> None:
        if conditions in operation.plans:
            return
        plan = await self._apart(operation.planned, self._planner, conditions)
        if len(operation.plans) >= PLANS:
            operation.plans.clear()
        operation.plans[conditions] = plan

    async def _apart(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _prepare(self, query: str) -> Document | Sequence[GraphQLError]:
        try:
            document = self._parse(query)
            hold(document, self._limits)
        except QueryTooComplex as error:
            return [GraphQLError(str(error), original_error=error)]
        except GraphQLError as error:
            return [coded(error, "GRAPHQL_PARSE_FAILED")]
        errors = validate(self._schema, document, self._rules, max_errors=MOST_ERRORS, hide_suggestions=self._hidden)
        return [coded(error, "GRAPHQL_VALIDATION_FAILED") for error in errors] or Document(document)

    def _parse(self, query: str) -> DocumentNode:
        tokens = self._limits.tokens
        try:
            return parse(query, max_lexical_tokens=tokens, max_comments=tokens, max_source_length=LONGEST_DOCUMENT)
        except GraphQLError as error:
            if not error.message.endswith("Parsing aborted."):
                raise
            raise self._aborted(error.message) from None

    def _aborted(self, message: str) -> QueryTooComplex:
        """What graphql-core's refusal to read on is to clients."""
        if "too deeply" in message:
            return QueryTooComplex(TOO_DEEP)
        if "code points" in message:
            return QueryTooComplex(f"The document has more than {LONGEST_DOCUMENT} characters.")
        return passed(self._limits, "tokens")


def coded(error: GraphQLError, code: str) -> GraphQLError:
    """The error with a code in its extensions, unless it has one."""
    error.extensions = {"code": code, **(error.extensions or {})}
    return error
