"""What comes behind a request on its connection: it is counted for itself, and refused in its turn."""

import contextlib
import signal
import socket
import time

import pytest

from tests.octets import ANSWER, HEAD, request, until_answered, until_closed
from tests.processes import Process
from tests.servers import TOKEN, Server

MEGABYTE = 1024 * 1024


def test_a_large_body_is_not_counted_as_the_head_that_follows_it(served: tuple[Process, Server]) -> None:
    process, _ = served
    follower = b"GET /healthz HTTP/1.1\r\nho"
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(request(40_000) + follower)
        assert until_answered(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"st: here\r\nconnection: close\r\n\r\n")
        received = until_closed(connection)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.count(b"HTTP/1.1") == 1
        assert b"connection: close" in received


REFUSED = {
    "no HTTP": b"RUBBISH\r\n\r\n",
    "a head of too many headers": b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    "a head that is too large": b"GET /healthz HTTP/1.1\r\na: " + b"b" * 40_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("requests", [1, 3])
def test_a_refusal_never_takes_the_place_of_the_answers_to_what_came_before(
    served: tuple[Process, Server], kind: str, requests: int
) -> None:
    process, _ = served
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
            connection.sendall(request() * requests + REFUSED[kind])
            received = until_closed(connection)
        assert received.count(b"HTTP/1.1 200 ") == received.count(ANSWER) == requests
        assert received.count(b"HTTP/1.1 ") == requests


@pytest.mark.parametrize("at_once", [False, True])
def test_a_head_without_an_end_is_refused_after_the_answer_to_what_came_before(
    served: tuple[Process, Server], *, at_once: bool
) -> None:
    process, _ = served
    with socket.create_connection(("127.0.0.1", process.port), 4) as connection:  # uvicorn itself would end it after 5
        with contextlib.suppress(ConnectionError):
            if at_once:
                process.popen.send_signal(signal.SIGSTOP)  # when it goes on, it is given all that has come
            connection.sendall(request() + b"GET / HTTP/1.1\r\na: ")
            for _ in range(20):
                connection.sendall(b"b" * 4096)
        process.popen.send_signal(signal.SIGCONT)
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(ANSWER) == 1


def test_what_came_behind_a_body_that_is_too_large_is_not_run(served: tuple[Process, Server]) -> None:
    process, server = served
    half = b"%x\r\n" % (MEGABYTE // 2) + b" " * (MEGABYTE // 2) + b"\r\n"
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(HEAD + f"authorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        connection.sendall(half * 2)
        time.sleep(0.2)
        connection.sendall(b"1\r\n \r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: here\r\nx-request-id: behind\r\n\r\n")
        received = until_closed(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.count(b"HTTP/1.1 ") == 1
    server.get("/healthz", **{"x-request-id": "after"})
    while not any(line.get("request_id") == "after" for line in process.log()):
        time.sleep(0.01)
    assert [line for line in process.log() if line["level"] == "error" or line.get("request_id") == "behind"] == []
