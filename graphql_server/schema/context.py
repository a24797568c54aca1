"""What a request brings along: who asks, the album, and the loaders that join its statements."""

import asyncio
from functools import cached_property

import strawberry

from graphql_server.images import Album
from graphql_server.schema.loaders import Loaders
from graphql_server.schema.pacing import Pace
from graphql_server.users import User, Users


class Context:
    """One request's context; nothing in it outlives the request."""

    def __init__(self, album: Album, users: Users, token: str | None) -> None:
        self.album = album
        self._users = users
        self._token = token
        self.pace = Pace()
        self._user: asyncio.Task[User] | None = None

    @cached_property
    def loaders(self) -> Loaders:
        return Loaders(self.album.database, self.pace)

    async def user(self) -> User:
        """Whoever asks, by the user server's word; it is asked once, however many root fields there are.

        Raises Unauthenticated and UserServerUnavailable.
        """
        if self._user is None:
            self._user = asyncio.create_task(self._users.authenticate(self._token))
        return await self._user


Info = strawberry.Info[Context, None]
