"""Whom a token belongs to, asked of user servers that answer well, badly, slowly or not at all."""

import asyncio
import gc
import importlib
import json
import logging
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphql_server import users as remembering
from graphql_server.errors import SettingsError, Unauthenticated, UserServerUnavailable
from graphql_server.settings import Settings
from graphql_server.user_servers import connect
from graphql_server.users import User, Users
from tests.chaos.relay import relaying
from tests.processes import free_port
from tests.waiting import Clock

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[1]
TOKEN = "gRPC-7b1f.made_up~token"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of those who remember answers."""
    monkeypatch.setattr(remembering, "time", clock := Clock())
    return clock


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


async def test_the_token_is_posted_in_both_headers_to_exactly_the_given_address() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    async with asking(answer, "https://users.test:8443/a/b/?tenant=7") as users:
        await users.authenticate(TOKEN)
    (request,) = seen
    assert request.method == "POST"
    assert str(request.url) == "https://users.test:8443/a/b/?tenant=7"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["access_token"] == TOKEN
    assert request.content == b""


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_2xx_is_a_yes(status: int) -> None:
    async with asking(saying(status)) as users:
        assert await users.authenticate(TOKEN) == User()


@pytest.mark.parametrize(
    ("body", "user"),
    [
        (b'{"pk": 7, "email": "a@b.kr", "more": [1, 2]}', User(7)),
        (b'{"pk": "7"}', User()),
        (b'{"pk": true}', User()),
        (b'{"pk": 7.0}', User()),
        (b"[7]", User()),
        (b"null", User()),
        (b"<p>welcome</p>", User()),
        (b"\xff\xfe", User()),
        (b"[" * 60_000, User()),
    ],
)
async def test_the_body_of_a_yes_may_say_who_and_is_otherwise_no_reason_to_refuse(body: bytes, user: User) -> None:
    async with asking(saying(200, body)) as users:
        assert await users.authenticate(TOKEN) == user


@pytest.mark.parametrize("status", [401, 403])
async def test_401_and_403_are_a_no(status: int) -> None:
    async with asking(saying(status, b'{"pk": 7}')) as users:
        with pytest.raises(Unauthenticated):
            await users.authenticate(TOKEN)


@pytest.mark.parametrize("status", [300, 304, 400, 402, 404, 407, 418, 429, 500, 502, 503, 599])
async def test_any_other_status_is_unavailable_and_never_a_yes(status: int) -> None:
    async with asking(saying(status, b'{"pk": 7}')) as users:
        with pytest.raises(UserServerUnavailable, match=str(status)):
            await users.authenticate(TOKEN)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_so_that_the_token_goes_nowhere_else(status: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "users.test":
            return httpx.Response(status, headers={"location": "http://elsewhere.test/"})
        return httpx.Response(200)

    async with asking(answer) as users:
        with pytest.raises(UserServerUnavailable):
            await users.authenticate(TOKEN)
    assert asked == ["users.test"]


async def test_an_answer_beyond_64_kib_is_unavailable() -> None:
    async with asking(saying(200, b" " * 65_536)) as users:
        assert await users.authenticate(TOKEN) == User()
    async with asking(saying(200, b" " * 65_537)) as users:
        with pytest.raises(UserServerUnavailable):
            await users.authenticate(TOKEN)


async def test_no_answer_at_all_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    users = connect(settings(f"http://127.0.0.1:{port}/"))
    with pytest.raises(UserServerUnavailable, match="cannot be reached"):
        await users.authenticate(TOKEN)
    await users.aclose()


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_an_answer_that_breaks_off_or_is_no_http_is_unavailable(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with asking_socket(talk) as users:
        with pytest.raises(UserServerUnavailable):
            await users.authenticate(TOKEN)


@pytest.mark.parametrize(
    "drip",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 99,
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" + b" " * 99,
        b"",
    ],
)
async def test_a_server_that_drips_or_hangs_does_not_hold_longer_than_the_whole_time(drip: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in drip:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)
        await reader.read()

    async with asking_socket(talk, user_server_seconds=0.5) as users:
        start = time.monotonic()
        with pytest.raises(UserServerUnavailable, match=re.escape("within 0.5 seconds")):
            await users.authenticate(TOKEN)
        # All of it would take five seconds, or for ever.
        assert 0.4 < time.monotonic() - start < 4


async def test_refused_tokens_do_not_cost_a_new_connection_each() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")

    async with asking_socket(talk) as users:
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await users.authenticate(f"token-{number}")
    assert connections == 1


async def test_a_proxy_in_the_environment_never_sees_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with asking_socket(talk) as users:
        assert await users.authenticate(TOKEN) == User()


async def test_a_cookie_of_one_answer_does_not_travel_with_the_next_question() -> None:
    cookies: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        cookies.append(request.headers.get("cookie"))
        return httpx.Response(200, headers={"set-cookie": "session=first-user; Path=/"})

    async with asking(answer) as users:
        await users.authenticate("first-token")
        await users.authenticate("second-token")
    assert cookies == [None, None]


@pytest.mark.parametrize(
    "token",
    [None, "", " ", "a b", " a", "a\n", "a\r\nx: y", "a\x00", "a\x7f", "tök", "토큰", "\ud800", "x" * 4097],
)
async def test_what_cannot_be_a_token_is_refused_without_asking(token: str | None) -> None:
    server = Counting()
    async with asking(server) as users:
        with pytest.raises(Unauthenticated):
            await users.authenticate(token)
    assert server.asked == []


async def test_the_longest_token_and_every_printable_character_are_asked_about() -> None:
    server = Counting()
    every = "".join(map(chr, range(0x21, 0x7F)))
    async with asking(server) as users:
        await users.authenticate("x" * 4096)
        await users.authenticate(every)
    assert server.asked == ["x" * 4096, every]


async def test_a_yes_is_remembered_for_its_time_and_no_longer(clock: Clock) -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=0.4) as users:
        for _ in range(5):
            await users.authenticate(TOKEN)
        clock.now += 0.39
        await users.authenticate(TOKEN)
        assert len(server.asked) == 1
        server.status = 401
        clock.now += 0.02
        with pytest.raises(Unauthenticated):
            await users.authenticate(TOKEN)


async def test_the_time_of_an_answer_runs_from_its_question(clock: Clock) -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        clock.now += 0.4
        return httpx.Response(200)

    async with asking(answer, auth_cache_seconds=0.5) as users:
        for seconds, times in ((0, 1), (0.05, 1), (0.1, 2)):
            clock.now += seconds
            await users.authenticate(TOKEN)
            assert asked == times


async def test_a_cache_of_0_seconds_asks_every_time() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=0.0) as users:
        for _ in range(3):
            await users.authenticate(TOKEN)
    assert len(server.asked) == 3


@pytest.mark.parametrize(("cache_seconds", "until_asked"), [(0.3, 0.3), (60.0, 1.0)])
async def test_a_no_is_remembered_no_longer_than_a_yes_and_at_most_a_second(
    cache_seconds: float, until_asked: float, clock: Clock
) -> None:
    server = Counting(status=401)
    async with asking(server, auth_cache_seconds=cache_seconds) as users:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await users.authenticate(TOKEN)
        clock.now += until_asked - 0.05
        with pytest.raises(Unauthenticated):
            await users.authenticate(TOKEN)
        assert len(server.asked) == 1
        server.status = 200
        clock.now += 0.1
        assert await users.authenticate(TOKEN) == User()


async def test_unavailable_is_not_remembered() -> None:
    server = Counting(status=503)
    async with asking(server) as users:
        with pytest.raises(UserServerUnavailable):
            await users.authenticate(TOKEN)
        server.status = 200
        assert await users.authenticate(TOKEN) == User()


async def test_the_oldest_of_ten_thousand_answers_makes_room_for_a_new_one() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=300.0) as users:
        for number in range(10_001):
            await users.authenticate(f"token-{number}")
        server.asked.clear()
        await users.authenticate("token-10000")
        await users.authenticate("token-1")
        assert server.asked == []
        await users.authenticate("token-0")
        assert server.asked == ["token-0"]


async def test_a_flood_of_made_up_tokens_pushes_no_user_out() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=300.0) as users:
        await users.authenticate(TOKEN)
        server.status = 401
        for number in range(10_001):
            with pytest.raises(Unauthenticated):
                await users.authenticate(f"made-up-{number}")
        assert await users.authenticate(TOKEN) == User()


async def test_concurrent_askers_of_one_token_share_one_call() -> None:
    server = Counting(seconds=0.1)
    async with asking(server, auth_cache_seconds=0.0) as users:
        answers = await asyncio.gather(*(users.authenticate(TOKEN) for _ in range(50)))
    assert answers == [User()] * 50
    assert server.asked == [TOKEN]


async def test_one_asker_who_gives_up_does_not_fail_the_others() -> None:
    server = Counting(seconds=0.2)
    async with asking(server) as users:
        askers = [asyncio.create_task(users.authenticate(TOKEN)) for _ in range(3)]
        await asyncio.sleep(0.05)
        askers[0].cancel()
        answers = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [User(), User()]
    assert server.asked == [TOKEN]


async def test_a_failure_that_nobody_waits_for_any_more_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Counting(status=500, seconds=0.1)
    async with asking(server) as users:
        asker = asyncio.create_task(users.authenticate(TOKEN))
        await asyncio.sleep(0.02)
        asker.cancel()
        await asyncio.wait([asker])
        del asker  # It holds the call, of which asyncio would complain when the last holder lets go.
        await asyncio.sleep(0.2)
        gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_at_most_100_tokens_are_asked_about_at_once_and_the_others_wait() -> None:
    server = Counting(seconds=0.1)
    async with asking(server, user_server_seconds=60.0) as users:
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(250)))
    assert answers == [User()] * 250
    assert server.most == 100


async def test_waiting_for_a_free_call_counts_as_waiting_for_the_answer() -> None:
    server = Counting(seconds=60)
    async with asking(server, user_server_seconds=2.0) as users:
        start = time.monotonic()
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(150)), return_exceptions=True)
        assert time.monotonic() - start < 10
        assert all(isinstance(answer, UserServerUnavailable) for answer in answers)
        server.seconds = 0
        assert await users.authenticate(TOKEN) == User()


async def test_a_hundred_hung_calls_leave_no_connection_that_blocks_the_next() -> None:
    hangs = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if hangs:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with asking_socket(talk, user_server_seconds=2.0) as users:
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(120)), return_exceptions=True)
        assert all(isinstance(answer, UserServerUnavailable) for answer in answers)
        hangs = False
        assert await users.authenticate(TOKEN) == User()


async def test_closing_ends_the_calls_that_are_under_way() -> None:
    server = Counting(seconds=60)
    async with asking(server, user_server_seconds=60.0) as users:
        asker = asyncio.create_task(users.authenticate(TOKEN))
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asker, 30)
    assert server.now == 0


async def test_no_token_stands_in_a_log_line_an_exception_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")

    said: list[str] = []
    for broken in (False, True):
        async with asking_socket(talk) as users:
            if broken:
                await users.aclose()
            with pytest.raises(Exception, match=r"500|closed") as failure:
                await users.authenticate(TOKEN)
            said += [
                *traceback.format_exception(failure.value),
                repr(failure.value),
                repr(users),
                repr(vars(users)),
            ]
    with pytest.raises(Unauthenticated) as refusal:
        await users.authenticate(f"{TOKEN}\n")
    said += [repr(refusal.value), *(record.getMessage() for record in caplog.records)]
    assert not [line for line in said if TOKEN in line]


@pytest.mark.parametrize("url", ["http://", "http:///path", "http://me:pw@users.test/", "http://users\x00.test/"])
async def test_an_address_that_cannot_be_asked_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^USER_SERVER_URL "):
        connect(settings(url))


# The predecessor's user server, spoken to by its own protocol. grpcio cannot change from one event loop to
# the next, as these tests do, so that all of this happens in a process of its own.

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
    program = "import asyncio, json, tests.test_users as t; print(json.dumps(asyncio.run(t.grpc_story())))"
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
