"""What answers operations, in whichever way they come."""

from collections.abc import AsyncGenerator, Awaitable, Mapping

from graphql_server.album import Album
from graphql_server.errors import NotPersisted, Unauthenticated, UserServerUnavailable
from graphql_server.feed import Feed
from graphql_server.figures import Operations
from graphql_server.http.persisted import Persisted
from graphql_server.schema.answers import Answer, refused
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Executor
from graphql_server.schema.operations import Operation
from graphql_server.schema.parts import Parts
from graphql_server.users import Users


class Service:
    """Answers operations, persisted ones too, from one album; whoever sends the answer counts it."""

    def __init__(self, executor: Executor, persisted: Persisted, album: Album, feed: Feed, users: Users) -> None:
        self.executor = executor
        self.users = users
        self.operations = Operations()
        self.named = 0  # operations whose document was named and found, not sent
        self._persisted = persisted
        self._album = album
        self._feed = feed

    def context(self, token: str | None) -> Context:
        return Context(self._album, self._feed, self.users, token)

    def answer(
        self, operation: Operation, context: Context, headers: Mapping[bytes, bytes], **taken: bool
    ) -> Awaitable[Answer | Parts | AsyncGenerator[Answer]]:
        """Answer an operation; what is `taken` is as `Executor.run` has it."""
        # Of most there is nothing to be found out first, and a coroutine more costs as much as to count them.
        if operation.document_id or self._persisted.always:
            return self._resolved(operation, context, headers, taken)
        return self.executor.run(operation, context, **taken)

    async def _resolved(
        self, operation: Operation, context: Context, headers: Mapping[bytes, bytes], taken: Mapping[str, bool]
    ) -> Answer | Parts | AsyncGenerator[Answer]:
        sent = operation.query
        try:
            operation = await self._persisted.resolve(operation, context, headers)
        except (NotPersisted, Unauthenticated, UserServerUnavailable) as error:
            return refused(error)
        self.named += not sent
        return await self.executor.run(operation, context, **taken)
