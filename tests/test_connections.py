"""Connections as clients keep them: how long, for how many requests, and what ends them."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphql_server.http import inlet, protocol
from graphql_server.http.connections import LEFT_SECONDS
from tests.live import UPGRADE, masked
from tests.servers import TOKEN, listening, running, settings_for

IDLE = 0.4
GET = b"GET /0 HTTP/1.1\r\nhost: here\r\n\r\n"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inlet.OPTIONS, "timeout_keep_alive", IDLE)


async def after(request: Request) -> Response:
    """The answer after so many tenths of a second as the path says."""
    await asyncio.sleep(int(request.url.path[1:]) / 10)
    return Response(b"done")


def connected(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 10)


def until_closed(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def lifespan_or(app: ASGIApp) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await (Starlette() if scope["type"] == "lifespan" else app)(scope, receive, send)

    return application


def test_a_connection_ends_when_nothing_was_asked_over_it_for_a_while_and_not_before() -> None:
    with listening(Starlette(routes=[Route("/{path:path}", after)])) as url, connected(url) as connection:
        for tenths in (0, 2, 2, 2, 6, 2):
            connection.sendall(GET.replace(b"0", b"%d" % tenths, 1))
            assert connection.recv(65536).endswith(b"done")
            answered = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - answered > IDLE * 0.9


@pytest.mark.parametrize("behind", [b"", b"RUBBISH\r\n\r\n"])
def test_a_long_answer_outlives_that_time_whatever_is_sent_behind_its_request(behind: bytes) -> None:
    async def long(_request: Request) -> Response:
        async def pieces() -> AsyncGenerator[bytes]:
            for _ in range(8):
                yield b"piece"
                await asyncio.sleep(IDLE / 4)

        return StreamingResponse(pieces())

    routes = [Route("/long", long), Route("/{path:path}", after)]
    with listening(Starlette(routes=routes)) as url, connected(url) as connection:
        connection.sendall(GET)
        assert connection.recv(65536).endswith(b"done")
        connection.sendall(GET.replace(b"/0", b"/long") + behind)
        received = until_closed(connection)
    assert received.count(b"piece") == 8
    assert received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("fields", [b"", b"connection: keep-alive\r\n"])
def test_an_answer_of_unknown_length_ends_with_the_connection_where_the_client_knows_no_chunks(fields: bytes) -> None:
    async def long(_request: Request) -> Response:
        return StreamingResponse(iter([b"one ", b"two ", b"", b"three"]))

    with listening(Starlette(routes=[Route("/{path:path}", long)])) as url, connected(url) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n" + fields + b"\r\n")
        head, _, received = until_closed(connection).partition(b"\r\n\r\n")
    assert received == b"one two three"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


def test_a_body_that_goes_on_behind_its_refusal_is_no_head(database_url: str, media_root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "HEAD_SECONDS", 0.1)
        with running(settings_for(database_url, media_root)) as server, connected(server.url) as connection:
            connection.sendall(b"POST /nowhere HTTP/1.1\r\nhost: here\r\ncontent-length: 200\r\n\r\n" + bytes(100))
            assert b" 404 " in connection.recv(65536)
            connection.sendall(bytes(50))
            time.sleep(0.2)
            connection.sendall(bytes(50) + GET)
            assert b" 404 " in connection.recv(65536)


def test_a_broken_body_that_was_to_be_asked_for_is_refused_without_an_error_in_the_log(
    database_url: str, media_root: Path
) -> None:
    sent = b"POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    sent += b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\nzz\r\n"
    with structlog.testing.capture_logs() as logged:
        with running(settings_for(database_url, media_root)) as server, connected(server.url) as connection:
            connection.sendall(sent)
            assert until_closed(connection).startswith(b"HTTP/1.1 400 ")
        assert [line["event"] for line in logged if line["log_level"] == "error"] == []


def test_a_broken_body_behind_another_request_ends_the_connection_with_the_answer_to_that(
    database_url: str, media_root: Path
) -> None:
    broken = b"POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
    broken += b"transfer-encoding: chunked\r\n\r\nzz\r\n"
    with running(settings_for(database_url, media_root)) as server, connected(server.url) as connection:
        connection.sendall(GET.replace(b"/0", b"/healthz") * 2 + broken)
        received = until_closed(connection)
    assert received.count(b"HTTP/1.1 ") == received.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert received.count(b"connection: close\r\n") == 1


def test_a_websocket_outlives_the_time_of_the_connection_that_it_was(database_url: str, media_root: Path) -> None:
    with running(settings_for(database_url, media_root)) as server, connected(server.url) as connection:
        connection.sendall(GET)
        assert b" 404 " in connection.recv(65536)
        connection.sendall(UPGRADE + b"\r\n")
        assert b" 101 " in connection.recv(65536)
        payload = {"type": "connection_init", "payload": {"access_token": TOKEN}}
        connection.sendall(masked(json.dumps(payload).encode()))
        assert b"connection_ack" in connection.recv(65536)
        time.sleep(2 * IDLE)
        connection.sendall(masked(b'{"type":"ping"}'))
        assert b"pong" in connection.recv(65536)


def head(*fields: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": fields}


def body(piece: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": more}


LENGTH = (b"content-length", b"4")
WRONG: dict[str, list[Message]] = {
    "nothing": [],
    "a body without a head": [body(b"done")],
    "a header of two lines": [head((b"x", b"one\r\nset-cookie: two")), body(b"done")],
    "two heads": [head(LENGTH), head(LENGTH), body(b"done")],
    "a head, and no body that was declared": [head(LENGTH)],
    "a head alone": [head()],
    "a body that is longer than declared": [head(LENGTH), body(b"do", more=True), body(b"nuts")],
    "a body that is shorter than declared": [head(LENGTH), body(b"do", more=True), body(b"n")],
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_an_application_answers_wrongly_is_a_500_or_broken_off_and_nothing_follows(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrong(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in WRONG[kind]:
            await send({**message})

    with listening(lifespan_or(wrong)) as url, connected(url) as connection:
        connection.sendall(GET * 2)
        received = until_closed(connection)
        closed = time.monotonic()
    assert time.monotonic() - closed < LEFT_SECONDS - 1  # who closes then is not waited for any longer
    refused = kind in list(WRONG)[:5]
    assert received.count(b"HTTP/1.1 500 ") == refused
    assert received.count(b"HTTP/1.1 200 ") == (not refused)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert not received.endswith((b"done", b"nuts", b"0\r\n\r\n"))
    assert b"set-cookie" not in received


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_is_followed_by_the_next(method: str, status: int) -> None:
    async def answer(_request: Request) -> Response:
        return Response(b"" if status != 200 else b"done", status)

    routes = [Route("/{path:path}", answer, methods=["GET", "HEAD"])]
    with listening(Starlette(routes=routes)) as url, connected(url) as connection:
        connection.sendall(GET.replace(b"GET", method.encode()) * 2)
        received = until_closed(connection)
    assert received.count(b"HTTP/1.1 %d " % status) == 2
    assert b"done" not in received
    assert b"chunked" not in received
