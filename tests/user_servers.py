"""Users whose user server is made up: a function, or one that listens."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx

from graphql_server.settings import Settings
from graphql_server.user_servers import connect
from graphql_server.users import Users

TOKEN = "gRPC-7b1f.made_up~token"
Answer = Callable[[httpx.Request], httpx.Response] | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def settings(url: str, **others: Any) -> Settings:
    return Settings(
        database_url="sqlite:///unused",
        user_server_url=url,
        media_signing_key=("kJ8sQ2vN5xR7tY1uW3zA6bC9dE0fG4hL",),
        **others,
    )


@asynccontextmanager
async def asking(answer: Answer, url: str = "http://users.test/auth", **others: Any) -> AsyncGenerator[Users]:
    """Users whose user server is a function."""
    users = connect(settings(url, **others), httpx.MockTransport(answer))
    try:
        yield users
    finally:
        await users.aclose()


@asynccontextmanager
async def asking_socket(talk: Talk, **others: Any) -> AsyncGenerator[Users]:
    """Users whose user server is a real one that says on its connections what `talk` writes."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    users = connect(settings(f"http://127.0.0.1:{port}/auth", **others))
    try:
        yield users
    finally:
        await users.aclose()
        server.close()


def saying(status: int, body: bytes = b"") -> Answer:
    return lambda _: httpx.Response(status, content=body)


class Counting:
    """A user server that counts how often it is asked, and can be told what to say."""

    def __init__(self, status: int = 200, seconds: float = 0.0) -> None:
        self.status = status
        self.seconds = seconds
        self.asked: list[str] = []
        self.now = self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers["access_token"])
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return httpx.Response(self.status)
