"""The predecessor's user server, asked by its own protocol.

grpcio cannot change from one event loop to the next, as tests do, so that all of this happens in a process of its own.
"""

import asyncio
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from graphql_server.errors import SettingsError, Unauthenticated, UserServerUnavailable
from graphql_server.user_servers import connect
from graphql_server.users import User, Users
from tests.chaos.relay import relaying
from tests.processes import free_port
from tests.user_servers import TOKEN, settings

ROOT = Path(__file__).parents[1]
Authenticate = Callable[[bytes, Any], Awaitable[bytes]]
STATUSES = ("UNKNOWN", "PERMISSION_DENIED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED")


def grpc() -> Any:
    """Import grpcio, which ships no types, not before the server does: that is when it reads its settings."""
    return importlib.import_module("grpc")


@asynccontextmanager
async def grpc_server(authenticate: Authenticate, port: int = 0) -> AsyncGenerator[int]:
    server = grpc().aio.server()
    method = grpc().unary_unary_rpc_method_handler(authenticate)
    server.add_generic_rpc_handlers((grpc().method_handlers_generic_handler("User", {"Authenticate": method}),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def asking_grpc(port: int, **others: Any) -> AsyncGenerator[Users]:
    users = connect(settings(f"grpc://127.0.0.1:{port}", auth_cache_seconds=0.0, **others))
    try:
        yield users
    finally:
        await users.aclose()


async def predecessor(request: bytes, context: Any) -> bytes:
    """Answer as the predecessor's user server does."""
    if request or dict(context.invocation_metadata()).get("access_token") != TOKEN:
        await context.abort(grpc().StatusCode.UNAUTHENTICATED, "Invalid access_token come")
    return b""


async def asleep(_request: bytes, _context: Any) -> bytes:
    await asyncio.sleep(60)
    return b""


def failing(status: str) -> Authenticate:
    async def authenticate(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc().StatusCode[status], "Unexpected <class 'RuntimeError'>")
        return b""

    return authenticate


async def outcome(users: Users, token: str = TOKEN) -> str:
    try:
        return repr(await users.authenticate(token))
    except (Unauthenticated, UserServerUnavailable) as error:
        return repr(error)


async def grpc_story() -> dict[str, str]:
    """Ask user servers of several tempers; gives what came of it."""
    story: dict[str, str] = {}
    async with asking_grpc(1) as users:
        story["nowhere"] = await outcome(users)
    port = free_port()  # which nobody is given until it is listened on again
    async with grpc_server(predecessor, port), asking_grpc(port) as users:
        story["known"] = await outcome(users)
        story["unknown"] = await outcome(users, TOKEN.upper())
    for status in STATUSES:
        async with grpc_server(failing(status)) as failing_port, asking_grpc(failing_port) as users:
            story[status] = await outcome(users)
    async with grpc_server(asleep) as sleepy_port, asking_grpc(sleepy_port, user_server_seconds=0.5) as users:
        start = time.monotonic()
        story["asleep"] = await outcome(users)
        story["seconds"] = f"{time.monotonic() - start:.1f}"
    async with asking_grpc(port) as users:
        story["away"] = await outcome(users)
        async with grpc_server(predecessor, port):
            await asyncio.sleep(2)
            story["back"] = await outcome(users)
    story["forgotten"], story["remembered"] = await forgotten_and_remembered()
    return story


async def forgotten_and_remembered() -> tuple[str, str]:
    """What comes of asking on a connection that goes silent, at first and in the end: new ones are served."""
    async with grpc_server(predecessor) as port:
        with relaying(f"grpc://127.0.0.1:{port}") as (_, relay):
            async with asking_grpc(relay.port, user_server_seconds=2.0) as users:
                assert await outcome(users) == repr(User())
                relay.forget()
                first = last = await outcome(users)
                end = time.monotonic() + 40
                while last != repr(User()) and time.monotonic() < end:
                    last = await outcome(users)
    return first, last


@pytest.fixture(scope="module")
def grpc_run() -> "subprocess.CompletedProcess[str]":
    program = "import asyncio, json, tests.test_user_server_grpc as t; print(json.dumps(asyncio.run(t.grpc_story())))"
    run = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.fixture
def story(grpc_run: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    return json.loads(grpc_run.stdout)


def test_the_predecessors_user_server_is_asked_over_grpc(story: dict[str, str]) -> None:
    assert story["known"] == repr(User())
    assert story["unknown"].startswith("Unauthenticated(")


@pytest.mark.parametrize("status", STATUSES)
def test_any_other_grpc_status_is_unavailable_and_its_details_stay_here(story: dict[str, str], status: str) -> None:
    assert story[status] == f"UserServerUnavailable('The user server answered {status}.')"


def test_a_grpc_server_that_hangs_is_unavailable_in_time(story: dict[str, str]) -> None:
    assert story["asleep"].startswith("UserServerUnavailable(")
    assert 0.4 <= float(story["seconds"]) < 10


def test_a_grpc_server_that_was_away_is_found_again(story: dict[str, str]) -> None:
    assert story["nowhere"] == story["away"] == "UserServerUnavailable('The user server answered UNAVAILABLE.')"
    assert story["back"] == repr(User())


def test_a_grpc_server_whose_connection_has_gone_without_a_word_is_found_again(story: dict[str, str]) -> None:
    assert story["forgotten"].startswith("UserServerUnavailable(")
    assert story["remembered"] == repr(User())


def test_asking_over_grpc_leaves_nothing_on_stderr(grpc_run: "subprocess.CompletedProcess[str]") -> None:
    assert grpc_run.stderr == ""


def test_without_grpcio_a_grpc_address_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SettingsError, match=re.escape("install dataset-server[grpc]")):
        connect(settings("grpc://127.0.0.1:50051"))
