"""A whole server in this process, reached by real HTTP, with a user server that the test commands."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.types import ASGIApp

from graphql_server.app import create_app
from graphql_server.http.inlet import OPTIONS
from graphql_server.settings import Settings

TOKEN = "a-token-that-the-user-server-knows"
KEY = "kJ8sQ2vN5xR7tY1uW3zA6bC9dE0fG4hL"
SAVE_FIX = """
mutation SaveFix($input: SaveFixInput!) {
  saveFix(input: $input) { image {
    id pk originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree uprightDegree
    url contentType width height byteSize sha256 createdAt dataset { pk title isUntrained }
  } }
}"""


@dataclass
class UserServer:
    """The user server's transport: tokens and their users, or an answer of the test's own."""

    users: dict[str, dict[str, Any]] = field(default_factory=lambda: {TOKEN: {"pk": 7}})
    answer: httpx.Response | httpx.TransportError | None = None
    asked: list[str] = field(default_factory=list[str])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.asked.append(token)
        if isinstance(self.answer, httpx.TransportError):
            raise self.answer
        if self.answer is not None:
            return self.answer
        known = self.users.get(token)
        return httpx.Response(200, json=known) if known else httpx.Response(401)


@dataclass
class Server:
    """Where the server listens, and how to talk to it."""

    url: str
    settings: Settings
    user_server: UserServer
    token: str | None = TOKEN

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def post(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        body = {"query": query, "variables": variables or {}}
        with httpx.Client(verify=False) as client:
            return client.post(f"{self.url}/graphql", json=body, headers={**self.headers, **headers}, timeout=60)

    def result(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole response: data and errors."""
        return self.post(query, variables).json()

    def data(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response's data; it must have no errors."""
        result = self.result(query, variables)
        assert "errors" not in result, result
        return result["data"]

    def codes(self, query: str, variables: dict[str, Any] | None = None) -> list[str]:
        """The codes of the response's errors."""
        return [error["extensions"]["code"] for error in self.result(query, variables)["errors"]]

    def upload(self, content: bytes, name: str = "photo.jpg", *, query: str = SAVE_FIX, **input: Any) -> dict[str, Any]:
        """Save a fix as a client does; gives the whole response."""
        given = {"modelDegree": 90, "confidence": 0.75, "userFixDegree": 0, **input, "file": None}
        return self.send_form(query, {"input": given}, {"0": ["variables.input.file"]}, {"0": (name, content)}).json()

    def send_form(
        self,
        query: str,
        variables: dict[str, Any],
        places: dict[str, list[str]],
        files: dict[str, tuple[str, bytes]],
        **headers: str,
    ) -> httpx.Response:
        form = {
            "operations": orjson.dumps({"query": query, "variables": variables}).decode(),
            "map": orjson.dumps(places).decode(),
        }
        sent = {**self.headers, "graphql-require-preflight": "1", **headers}
        with httpx.Client(verify=False) as client:
            return client.post(f"{self.url}/graphql", data=form, files=files, headers=sent, timeout=60)

    def save(self, content: bytes, name: str = "photo.jpg", **input: Any) -> dict[str, Any]:
        """Save a fix that must succeed; gives the image."""
        result = self.upload(content, name, **input)
        assert "errors" not in result, result
        return result["data"]["saveFix"]["image"]

    def get(self, path: str, **headers: str) -> httpx.Response:
        with httpx.Client(verify=False) as client:
            return client.get(f"{self.url}{path}", headers=headers, timeout=60)


def settings_for(database_url: str, media_root: Path, **others: Any) -> Settings:
    media_root.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "database_url": database_url,
        "user_server_url": "http://users.test/authenticate",
        "media_root": media_root,
        "media_signing_key": (KEY,),
        "introspection": True,
        **others,
    }
    return Settings(**given)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, but it stops as soon as it can and not at the next tenth of a second: there are 1,500 tests."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in [*self.servers, *(sockets or [])]:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.001)
        await self.lifespan.shutdown()


@contextmanager
def running(settings: Settings) -> Generator[Server]:
    """Run the server until the block ends."""
    user_server = UserServer()
    with listening(create_app(settings, httpx.MockTransport(user_server))) as url:
        yield Server(url, settings, user_server)


@contextmanager
def listening(app: ASGIApp) -> Generator[str]:
    """Run an application until the block ends; gives its address."""
    server = _Uvicorn(uvicorn.Config(app, **OPTIONS))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"


class _Statements(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextmanager
def statements_sent() -> Generator[list[str]]:
    """The SQL statements that the server sends while the block runs."""
    handler = _Statements()
    loggers = [logging.getLogger(name) for name in ("graphql_server.statements", "tortoise.db_client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield handler.texts
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
