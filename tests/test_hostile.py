"""Connections and requests that abuse HTTP cost neither memory nor anybody's answer, and are no error of the server."""

import contextlib
from itertools import chain

import orjson
import pytest

from tests.octets import (
    CHUNKED,
    LENGTH,
    MEGABYTE,
    QUERY,
    answer,
    as_json,
    assert_serves,
    chunks,
    code,
    connect,
    head,
    memory,
    send,
)
from tests.processes import Process


def test_a_json_body_without_an_end_is_413_and_costs_no_memory(process: Process) -> None:
    before = memory(process)
    start = head(more=b"content-type: application/json\r\n" + CHUNKED)
    status, body, sent = send(process, chain([start], chunks(60_000_000)))
    assert sent < 30_000_000
    # The rest of what was sent may make the connection break before the answer is read.
    assert (status, body and code(body)) in ((413, "PAYLOAD_TOO_LARGE"), (0, b""))
    assert memory(process) - before < 20_000_000
    assert_serves(process)


def test_pipelined_requests_are_answered_in_turn(process: Process) -> None:
    with connect(process) as connection:
        connection.sendall((head(more=as_json(QUERY)) + QUERY) * 3)
        received = b""
        while received.count(b'"untrained"') < 3:
            received += connection.recv(65536)


def test_requests_that_wait_for_their_turn_are_left_to_the_kernel(process: Process) -> None:
    before = memory(process)
    request = b"GET /healthz HTTP/1.1\r\nhost: here\r\n" + b"a:b\r\n" * 90 + b"\r\n"
    with connect(process) as connection:
        connection.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 10_000:
                connection.sendall(request * 100)
                sent += 100
        assert memory(process) - before < 10_000_000
    assert_serves(process)


def test_a_body_whose_answer_has_been_sent_is_read_to_its_end(process: Process) -> None:
    with connect(process) as connection:
        connection.sendall(head(b"POST /nowhere HTTP/1.1", more=LENGTH % (10 * len(MEGABYTE))) + MEGABYTE * 10)
        assert answer(connection)[0] == 404
        connection.sendall(head(more=as_json(QUERY)) + QUERY)
        assert answer(connection)[0] == 200


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "an extension of a chunk": (b"1;", b"a" * 65_536),
    "headers behind the body": (b"1\r\n{\r\n0\r\n", b"x: y\r\n" * 10_000),
    "a header behind the body": (b"1\r\n{\r\n0\r\nx: ", b"y" * 65_536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_comes_with_a_body_without_being_of_it_is_cut(process: Process, kind: str) -> None:
    start, filler = ENDLESS[kind]
    before = memory(process)
    more = b"content-type: application/json\r\ntransfer-encoding: chunked\r\n"
    status, body, sent = send(process, [head(more=more) + start, *[filler] * 500])
    assert (status, code(body)) == (431, "HEADERS_TOO_LARGE")
    assert sent < 20_000_000
    assert memory(process) - before < 10_000_000


def test_many_requests_at_once_may_ask_for_another_protocol(process: Process) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with connect(process) as connection:
        connection.sendall(request * 1000)
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 1000:
            piece = connection.recv(65536)
            assert piece, received[-1000:]
            received += piece


@pytest.mark.parametrize("line", [b"POST /graphql HTTP/1.0", b"POST /graphql HTTP/1.1"])
def test_who_asks_for_another_protocol_may_wish_to_close(process: Process, line: bytes) -> None:
    wish = b"connection: close, upgrade\r\nupgrade: h2c\r\n"
    status, body, _ = send(process, [head(line, more=wish + as_json(QUERY)), QUERY])
    assert (status, orjson.loads(body)) == (200, {"data": {"untrained": {"title": "untrained"}}})


def test_keys_that_are_sent_twice_count_once(process: Process) -> None:
    body = b'{"query": "{ nothing }", "query": "{ untrained { title } }"}'
    status, answered, _ = send(process, [head(more=as_json(body)), body])
    assert (status, orjson.loads(answered)) == (200, {"data": {"untrained": {"title": "untrained"}}})


def test_nothing_of_all_this_was_an_error_of_the_server(process: Process) -> None:
    """The last of all who send rubbish: the log of what was sent before has no line that tells of a bug."""
    lines = process.log()
    assert [line for line in lines if line.get("level") == "error"] == []
    assert {line["status"] for line in lines if "status" in line} <= {0, 200, 400, 404, 405, 408, 413, 415}
    assert "Traceback" not in process.errors.read_text()
