"""A request is read alike whatever came before it on its connection, above all one that is nearly the same."""

import random
import socket

import orjson
import pytest

from tests.live import UPGRADE
from tests.octets import answer, as_json, connect, head
from tests.processes import Process
from tests.servers import TOKEN


def asking(query: str, line: bytes = b"POST /graphql HTTP/1.1", more: bytes = b"", token: str | None = TOKEN) -> bytes:
    body = orjson.dumps({"query": query})
    return head(line, token=token, more=more + as_json(body)) + body


def getting(target: bytes, more: bytes = b"", version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return head(method + b" " + target + b" HTTP/" + version, more=more)


def chunked(query: str) -> bytes:
    body = orjson.dumps({"query": query})
    more = b"content-type: application/json\r\ntransfer-encoding: chunked\r\n"
    return head(more=more) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


POSTED, GOT = asking("{ a: __typename }"), getting(b"/graphql?query=%7B%20a%3A%20__typename%20%7D")
FOLLOWERS = {
    "the same": POSTED,
    "a body as long": asking("{ b: __typename }"),
    "a body as long that is none of JSON": POSTED[:-1] + b"(",
    "a longer body": asking("{ longer: __typename }"),
    "another target": asking("{ a: __typename }", b"POST /graphiql HTTP/1.1"),
    "a target with another query": asking("{ a: __typename }", b"POST /graphql?query=%7Bc%3A__typename%7D HTTP/1.1"),
    "a target in percents": asking("{ a: __typename }", b"POST /%67raphql HTTP/1.1"),
    "a target with a fragment": asking("{ a: __typename }", b"POST /graphql#b HTTP/1.1"),
    "a whole address": asking("{ a: __typename }", b"POST http://here/graphql HTTP/1.1"),
    "another method": POSTED.replace(b"POST", b"PUT"),
    "a method in small letters": POSTED.replace(b"POST", b"post"),
    "another version": POSTED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no version": POSTED.replace(b" HTTP/1.1", b""),
    "an empty line before": b"\r\n" + POSTED,
    "another token as long": POSTED.replace(TOKEN.encode(), b"x" * len(TOKEN)),
    "no token": asking("{ a: __typename }", token=None),
    "names in capitals": POSTED.replace(b"authorization", b"AUTHORIZATION"),
    "one more host": asking("{ a: __typename }", more=b"host: there\r\n"),
    "another type as long": POSTED.replace(b"application/json", b"application/jsoM"),
    "a shorter length": POSTED.replace(b"content-length: 2", b"content-length: 1"),
    "no length": POSTED.replace(b"content-length", b"content-lengtH-"),
    "lines that end otherwise": POSTED.replace(b"\r\n", b"\n"),
    "a wish to close": asking("{ a: __typename }", more=b"connection: close\r\n"),
    "chunks": chunked("{ a: __typename }"),
    "the same of GET": GOT,
    "another query of GET": GOT.replace(b"a%3A", b"b%3A"),
    "HEAD": GOT.replace(b"GET", b"HEAD"),
    "another path of GET": getting(b"/healthz"),
    "no HTTP": b"RUBBISH\r\n\r\n",
}


def ask(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    connection.sendall(request)
    return answer(connection) if not request.startswith(b"HEAD") else (int(connection.recv(65536).split()[1]), b"")


def fresh(process: Process, request: bytes) -> tuple[int, bytes]:
    with connect(process) as connection:
        return ask(connection, request)


@pytest.mark.parametrize("kind", FOLLOWERS)
@pytest.mark.parametrize("first", [POSTED, GOT, chunked("{ a: __typename }"), b"\r\n" + POSTED])
def test_a_request_is_answered_as_on_a_connection_of_its_own(process: Process, first: bytes, kind: str) -> None:
    with connect(process) as connection:
        answered = fresh(process, first)
        assert answered[0] == 200
        assert ask(connection, first) == ask(connection, first) == answered
        assert ask(connection, FOLLOWERS[kind]) == fresh(process, FOLLOWERS[kind])


def test_a_request_that_differs_by_a_byte_is_answered_as_on_a_connection_of_its_own(process: Process) -> None:
    chosen = random.Random(20261128)
    for _ in range(300):
        first = chosen.choice((POSTED, GOT))
        changed = bytearray(first)
        changed[chosen.randrange(first.index(b"\r\n\r\n"))] = chosen.randrange(256)
        if b"content-length: %d\r\n" % (len(POSTED) - POSTED.index(b"{")) not in bytes(changed) and first is POSTED:
            continue  # of another length, or of none, which is waited for
        with connect(process) as connection:
            assert ask(connection, first)[0] == 200
            assert ask(connection, bytes(changed)) == fresh(process, bytes(changed)), changed


def test_a_request_whose_body_comes_later_is_not_taken_for_the_one_before_it(process: Process) -> None:
    for first, later in ((POSTED, asking("{ b: __typename }")), (POSTED, POSTED)):
        at = later.index(b"\r\n\r\n") + 4
        for piece in (later[: at - 20], later[:at], later[: at + 5]):
            with connect(process) as connection:
                connection.sendall(first)
                answered = answer(connection)
                connection.sendall(piece)
                ask_later = fresh(process, later)
                connection.sendall(later[len(piece) :])
                assert answer(connection) == ask_later
                assert ask(connection, first) == answered


def test_a_websocket_begins_with_the_fields_of_the_request_before_it(process: Process) -> None:
    """Only a GET can become one; of others the same wish is passed over."""
    begun, plain = UPGRADE + b"\r\n", UPGRADE.replace(b"GET", b"POST") + b"\r\n"
    with connect(process) as connection:
        assert ask(connection, plain)[0] == ask(connection, plain)[0] == 415
        connection.sendall(begun)
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")


def test_requests_that_come_in_a_row_are_all_answered(process: Process) -> None:
    with connect(process) as connection:
        assert ask(connection, POSTED)[0] == 200
        for _ in range(3):
            connection.sendall(POSTED * 3)
            received = b""
            while received.count(b'{"data":{"a":"Query"}}') < 3:
                received += connection.recv(65536)
            assert received.count(b"HTTP/1.1 200 ") == 3
            assert ask(connection, POSTED)[0] == 200
