"""Whom a token belongs to: what user servers are asked, and what each of their answers means."""

import asyncio
import logging
import re
import socket
import time
import traceback

import httpx
import pytest

from graphql_server.errors import SettingsError, Unauthenticated, UserServerUnavailable
from graphql_server.user_servers import connect
from graphql_server.users import User
from tests.user_servers import TOKEN, Counting, asking, asking_socket, saying, settings

pytestmark = pytest.mark.anyio


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
