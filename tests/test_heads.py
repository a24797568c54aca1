"""Heads of requests: what is no HTTP, too large, or asks for leave to send a body."""

import pytest

from tests.octets import LENGTH, MEGABYTE, QUERY, answer, as_json, assert_serves, code, connect, head, memory, send
from tests.processes import Process

NO_HTTP: dict[str, bytes] = {
    "a word": b"hello\r\n\r\n",
    "nonsense": bytes(range(128, 256)) * 8,
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"a" * 200,
    "an unknown version": b"GET / HTTP/9.9\r\n\r\n",
    "an unknown method": b"BREW / HTTP/1.1\r\nhost: here\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nhost here\r\n\r\n",
    "a header with a NUL": b"GET / HTTP/1.1\r\nhost: he\0re\r\n\r\n",
    "a length that is no number": head(more=b"content-length: ten\r\n"),
    "a length below 0": head(more=b"content-length: -1\r\n"),
    "two lengths": head(more=b"content-length: 1\r\ncontent-length: 2\r\n") + b"12",
    "a length and chunks": head(more=b"content-length: 5\r\ntransfer-encoding: chunked\r\n") + b"0\r\n\r\n",
    "chunks without a size": head(more=b"transfer-encoding: chunked\r\n") + b"z\r\nabc\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": head(b"GET /healthz HTTP/1.1", more=b"host: there\r\n"),
    "two hosts in HTTP/1.0": head(b"GET /healthz HTTP/1.0", more=b"host: there\r\n"),
}


@pytest.mark.parametrize("kind", NO_HTTP)
def test_what_is_no_http_is_refused_in_json(process: Process, kind: str) -> None:
    status, body, _ = send(process, [NO_HTTP[kind]])
    assert (status, code(body)) == (400, "BAD_REQUEST")
    assert_serves(process)


def test_a_request_of_http_1_0_needs_no_host(process: Process) -> None:
    status, _, _ = send(process, [b"GET /healthz HTTP/1.0\r\n\r\n"])
    assert status == 200


def test_a_refusal_of_what_is_no_http_is_dated(process: Process) -> None:
    with connect(process) as connection:
        connection.sendall(NO_HTTP["a word"])
        assert b"\r\ndate: " in connection.recv(65536)


CODINGS = {
    "gzip": b"transfer-encoding: gzip\r\n",
    "gzip and chunked": b"transfer-encoding: gzip, chunked\r\n",
    "gzip and chunked in two lines": b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
}


@pytest.mark.parametrize("kind", CODINGS)
def test_a_body_in_a_coding_that_nobody_takes_off_is_501(process: Process, kind: str) -> None:
    request = head(more=b"content-type: application/json\r\n" + CODINGS[kind])
    status, body, _ = send(process, [request, b"%x\r\n%b\r\n0\r\n\r\n" % (len(QUERY), QUERY)])
    assert (status, code(body)) == (501, "BAD_REQUEST")
    assert_serves(process)


TAKEN = {
    "chunked in capitals": b"Transfer-Encoding: Chunked\r\n",
    "space behind it": b"transfer-encoding: chunked \r\n",
}


@pytest.mark.parametrize("kind", TAKEN)
def test_chunks_are_taken_however_their_header_is_written(process: Process, kind: str) -> None:
    """What stands around a value is none of it (RFC 9110, 5.5)."""
    request = head(more=b"content-type: application/json\r\n" + TAKEN[kind])
    status, _, _ = send(process, [request + b"%x\r\n%b\r\n0\r\n\r\n" % (len(QUERY), QUERY)])
    assert status == 200


LONG_HEADS: dict[str, bytes] = {
    "one header of 2 MB": head(more=b"x: " + MEGABYTE * 2 + b"\r\n"),
    "10,000 headers": head(more=b"".join(b"x-%d: y\r\n" % number for number in range(10_000))),
    "101 small headers": head(more=b"x: y\r\n" * 101),
    "an address of 1 MB": head(b"GET /graphql?query=" + MEGABYTE + b" HTTP/1.1"),
    "a header just over the limit": head(more=b"x: " + b"y" * 33_000 + b"\r\n"),
}


@pytest.mark.parametrize("kind", LONG_HEADS)
def test_headers_that_are_too_large_are_431(process: Process, kind: str) -> None:
    status, body, _ = send(process, [LONG_HEADS[kind]])
    assert (status, code(body)) == (431, "HEADERS_TOO_LARGE")
    assert_serves(process)


def test_large_headers_that_a_client_may_have_are_taken(process: Process) -> None:
    more = b"cookie: " + b"c" * 8_000 + b"\r\n" + b"x: y\r\n" * 80
    status, _, _ = send(process, [head(more=more + as_json(QUERY)), QUERY])
    assert status == 200


def test_each_request_of_a_connection_has_its_own_headers(process: Process) -> None:
    """What is counted is one request's head: a connection that is kept sends far more in all."""
    request = head(more=b"x: " + b"y" * 10_000 + b"\r\n" + as_json(QUERY)) + QUERY
    with connect(process) as connection:
        for _ in range(10):
            connection.sendall(request)
            assert answer(connection)[0] == 200


@pytest.mark.parametrize("start", [b"POST /graphql HTTP/1.1\r\nx: ", b"GET /", b"POST /graphql HTTP/1.1\r\n"])
def test_headers_without_an_end_are_cut_and_cost_no_memory(process: Process, start: bytes) -> None:
    before = memory(process)
    filler = b"a" * 65_536 if start[-2:] != b"\r\n" else b"a: b\r\n" * 10_000
    _, _, sent = send(process, [start, *[filler] * 500])
    # What is thrown away behind the refusal, and what the sockets themselves hold, is sent as well.
    assert sent < 20_000_000
    assert memory(process) - before < 10_000_000
    assert_serves(process)


EXPECT = b"expect: 100-continue\r\n"


def test_who_waits_to_be_asked_for_a_body_is_asked(process: Process) -> None:
    """As curl does before it sends more than a megabyte."""
    with connect(process) as connection:
        connection.sendall(head(more=EXPECT + as_json(QUERY)))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(QUERY)
        assert answer(connection)[0] == 200


def test_who_speaks_http_1_0_is_not_told_to_go_on(process: Process) -> None:
    status, _, _ = send(process, [head(b"POST /graphql HTTP/1.0", more=EXPECT + as_json(QUERY)), QUERY])
    assert status == 200


REFUSED_BY_HEAD: dict[str, tuple[bytes, int, str]] = {
    "a method": (head(b"PUT /graphql HTTP/1.1", more=EXPECT + LENGTH % 100), 405, "METHOD_NOT_ALLOWED"),
    "a path": (head(b"POST /nowhere HTTP/1.1", more=EXPECT + LENGTH % 100), 404, "NOT_FOUND"),
    "a type": (head(more=EXPECT + LENGTH % 100), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a length": (head(more=EXPECT + b"content-type: application/json\r\n" + LENGTH % 10**9), 413, "PAYLOAD_TOO_LARGE"),
    "a stranger's form": (
        head(
            token=None,
            more=EXPECT + b"content-type: multipart/form-data; boundary=b\r\napollo-require-preflight: 1\r\n",
        ),
        200,
        "UNAUTHENTICATED",
    ),
}


@pytest.mark.parametrize("kind", REFUSED_BY_HEAD)
def test_who_waits_to_be_asked_for_a_body_that_nobody_wants_is_refused_and_the_connection_ends(
    process: Process, kind: str
) -> None:
    request, status, expected = REFUSED_BY_HEAD[kind]
    with connect(process) as connection:
        connection.sendall(request)
        answered, body = answer(connection)
        assert (answered, code(body)) == (status, expected)
        assert connection.recv(1) == b""
