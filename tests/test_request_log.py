"""What a server in production writes of its requests: an id, no secret, and all of what went wrong."""

import socket
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.front_door import QUERY
from tests.holdings import ask
from tests.live import UPGRADE
from tests.processes import Process, serving_on_sqlite
from tests.rows import IMAGE
from tests.servers import TOKEN
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    with serving_on_sqlite(tmp_path_factory.mktemp("process"), LOG_LEVEL="debug") as (process, _):
        yield process


def post(process: Process, query: str, **headers: str) -> httpx.Response:
    given = {"authorization": f"Bearer {TOKEN}", **headers}
    return httpx.post(
        f"{process.url}/graphql", json={"query": query}, headers=given, timeout=60, verify=False, trust_env=False
    )


def lines_of(process: Process, request_id: str) -> list[dict[str, Any]]:
    """The lines of a request; they are waited for, since they are written behind the answer."""

    def found() -> list[dict[str, Any]]:
        return [line for line in process.log() if line.get("request_id") == request_id and "status" in line]

    wait_until(lambda: bool(found()))
    return found()


def test_a_request_keeps_its_id_in_the_answer_and_in_the_log(process: Process) -> None:
    answer = post(process, QUERY, **{"x-request-id": "from-the.client_1"})
    assert answer.headers["x-request-id"] == "from-the.client_1"
    (line,) = lines_of(process, "from-the.client_1")
    assert (line["event"], line["method"], line["path"], line["status"]) == ("request", "POST", "/graphql", 200)
    assert line["ms"] > 0


@pytest.mark.parametrize("sent", ["", "two words", 'quote"', "x" * 65])
def test_a_request_without_a_plausible_id_is_given_one(process: Process, sent: str) -> None:
    answers = [post(process, QUERY, **{"x-request-id": sent}).headers["x-request-id"] for _ in range(2)]
    assert sent not in answers
    assert answers[0] != answers[1]
    assert all(lines_of(process, answer) for answer in answers)


def test_no_token_and_no_signature_stands_in_any_line_of_the_log(process: Process) -> None:
    wrong = "a-token-that-nobody-knows"
    for headers in ({}, {"authorization": f"Bearer {wrong}"}, {"authorization": "x", "access_token": TOKEN}):
        post(process, QUERY, **headers)
        post(process, "{ nothing }", **headers)
        post(process, "mutation { removeImage(input: {pk: 0}) { image { pk } } }", **headers)
    httpx.get(f"{process.url}/graphql?access_token={TOKEN}", verify=False, trust_env=False)
    last = httpx.get(f"{process.url}/media/1/x.jpg?expires=1&signature=a-signature", verify=False, trust_env=False)
    assert lines_of(process, last.headers["x-request-id"])
    log = process.output.read_text() + process.errors.read_text()
    assert log.count('"event":"request"') + log.count('"event": "request"') >= 11
    assert not [line for line in log.splitlines() if TOKEN in line or wrong in line or "a-signature" in line]


def test_an_unexpected_error_is_told_to_the_log_and_to_the_client_only_under_which_reference(
    process: Process,
) -> None:
    url = f"sqlite://{process.output.parent / 'test.db'}"
    columns = {"dataset_info_pk": 1, **IMAGE, "created_at": "never"}
    ask(url, f"INSERT INTO image_info ({', '.join(columns)}) VALUES {tuple(columns.values())}")
    answer = post(process, "{ images { nodes { createdAt } } }")
    ask(url, "DELETE FROM image_info")
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (200, "INTERNAL_SERVER_ERROR")
    assert "never" not in answer.text
    (line,) = (line for line in process.log() if line.get("reference") == error["extensions"]["reference"])
    assert error["extensions"]["reference"] in error["message"]
    assert line["level"] == "error"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "never" in line["exception"]


def test_expected_errors_leave_no_error_in_the_log(process: Process) -> None:
    answer = post(process, "mutation { removeImage(input: {pk: 0}) { image { pk } } }")
    request_id = answer.headers["x-request-id"]
    assert lines_of(process, request_id)  # which is the last of them
    lines = [line for line in process.log() if line.get("request_id") == request_id]
    assert {line["level"] for line in lines} <= {"debug", "info"}


def test_a_websocket_keeps_its_id_in_the_log(process: Process) -> None:
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection:
        connection.sendall(UPGRADE + b"x-request-id: from-the.client_2\r\n\r\n")
        assert b" 101 " in connection.recv(65536)
    wait_until(lambda: any(line.get("request_id") == "from-the.client_2" for line in process.log()))
    (line,) = [line for line in process.log() if line.get("request_id") == "from-the.client_2"]
    assert (line["event"], line["path"], line["code"]) == ("websocket", "/graphql", 1005)
    assert line["lasted_ms"] > 0


# What is sent, and once that is answered, what is sent then.
RUBBISH: dict[str, tuple[bytes, bytes]] = {
    "no HTTP": (b"RUBBISH\r\n\r\n", b""),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"x" * 200, b""),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
    "another upgrade": (b"GET / HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", b""),
    "a page of another origin": (UPGRADE + b"origin: https://evil.example\r\n\r\n", b""),
    "an origin that is none": (UPGRADE + b"origin: http://[\r\n\r\n", b""),
    "text that is no UTF-8": (UPGRADE + b"\r\n", b"\x81\x82abcd" + bytes([0xFF ^ 0x61, 0xFE ^ 0x62])),
    "text that is no UTF-8 and a close": (UPGRADE + b"\r\n", b"\x81\x81\0\0\0\0\xff\x88\x80abcd"),
    "a frame that is none": (UPGRADE + b"\r\n", b"\xf7\x02ab"),
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_nobody_fills_the_log_with_warnings(process: Process, kind: str) -> None:
    before = len(process.log())
    first, second = RUBBISH[kind]
    with socket.create_connection(("127.0.0.1", process.port), 30) as connection, suppress(ConnectionError):
        connection.sendall(first)
        assert b" 500 " not in connection.recv(65536)
        connection.sendall(second)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    post(process, QUERY)
    lines = process.log()[before:]
    assert {line["level"] for line in lines} <= {"debug", "info"}, lines
    assert len([line for line in lines if line["level"] == "info"]) <= 4


def test_a_long_path_is_cut_in_the_log(process: Process) -> None:
    path = "/" + "x" * 20_000
    answer = httpx.get(process.url + path, verify=False, trust_env=False)
    (line,) = lines_of(process, answer.headers["x-request-id"])
    assert line["path"] == path[:200]
