"""Rubbish at the level of HTTP and of forms gets a clear error in JSON, and costs neither memory nor files."""

import asyncio
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path

import orjson
import pytest

from graphql_server import migrations
from tests.photos import photo
from tests.processes import Process, settings_of, started, users_listening
from tests.servers import SAVE_FIX, TOKEN
from tests.waiting import wait_until

QUERY = b'{"query": "{ untrained { title } }"}'
MAX_REQUEST = 8_000_000
MEGABYTE = b"x" * 1_000_000
LENGTH = b"content-length: %d\r\n"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    """A server as it runs in production."""
    folder = tmp_path_factory.mktemp("hostile")
    url = f"sqlite://{folder / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with users_listening() as users:
        settings = settings_of(url, folder / "media", users)
        with started(folder, "serve", MAX_REQUEST_BYTES=str(MAX_REQUEST), **settings) as running:
            yield running


def connect(process: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", process.port), 30)


def head(line: bytes = b"POST /graphql HTTP/1.1", *, token: str | None = TOKEN, more: bytes = b"") -> bytes:
    sent = b"authorization: Bearer %s\r\n" % token.encode() if token else b""
    return line + b"\r\nhost: here\r\n" + sent + more + b"\r\n"


def as_json(body: bytes) -> bytes:
    return b"content-type: application/json\r\n" + LENGTH % len(body)


def send(process: Process, pieces: Iterable[bytes]) -> tuple[int, bytes, int]:
    """Send until the server closes or all is sent; gives the status, the body, and how much was sent."""
    sent = 0
    with connect(process) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
        status, body = answer(connection)
    return status, body, sent


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """The next answer on a connection; 0 where it is closed without one."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return 0, received
            received += piece
        start, _, body = received.partition(b"\r\n\r\n")
        length = int(
            next(line for line in start.lower().split(b"\r\n") if line.startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += connection.recv(65536)
        return int(start.split()[1]), body
    return 0, received


def code(body: bytes) -> str:
    (error,) = orjson.loads(body)["errors"]
    assert error["message"]
    return error["extensions"]["code"]


def assert_serves(process: Process) -> None:
    status, body, _ = send(process, [head(more=as_json(QUERY)), QUERY])
    assert (status, orjson.loads(body)) == (200, {"data": {"untrained": {"title": "untrained"}}})


def memory(process: Process) -> int:
    """The bytes that the process keeps in memory."""
    return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(process: Process) -> list[str]:
    """What the process has open; files that have no name any more are there as well."""
    found: list[str] = []
    for link in Path(f"/proc/{process.popen.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def temporary(process: Process) -> list[str]:
    return [name for name in open_files(process) if "(deleted)" in name]


def eventually_as_before(process: Process, before: int) -> None:
    """The number of open files is what it was, give or take connections that the server keeps to others."""
    wait_until(lambda: len(open_files(process)) <= before + 2 and not temporary(process))


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


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(MEGABYTE)):
        yield b"%x\r\n" % len(MEGABYTE) + MEGABYTE + b"\r\n"


BOUNDARY = b"content-type: multipart/form-data; boundary=b\r\ngraphql-require-preflight: 1\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
FILE = b'--b\r\ncontent-disposition: form-data; name="%s"; filename="photo.jpg"\r\n\r\n'
FIELD = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n'


def form(operations: bytes, places: bytes, *files: bytes, end: bytes = b"--b--\r\n") -> bytes:
    parts = [FIELD % b"operations" + operations + b"\r\n", FIELD % b"map" + places + b"\r\n"]
    parts += [FILE % b"%d" % number + content + b"\r\n" for number, content in enumerate(files)]
    return b"".join(parts) + end


def post_form(process: Process, body: bytes) -> tuple[int, bytes]:
    status, answered, _ = send(process, [head(more=BOUNDARY + LENGTH % len(body)), body])
    return status, answered


def test_a_json_body_without_an_end_is_413_and_costs_no_memory(process: Process) -> None:
    before = memory(process)
    start = head(more=b"content-type: application/json\r\n" + CHUNKED)
    status, body, sent = send(process, chain([start], chunks(60_000_000)))
    assert sent < 30_000_000
    # The rest of what was sent may make the connection break before the answer is read.
    assert (status, body and code(body)) in ((413, "PAYLOAD_TOO_LARGE"), (0, b""))
    assert memory(process) - before < 20_000_000
    assert_serves(process)


def test_a_file_without_an_end_is_cut_and_leaves_nothing(process: Process) -> None:
    before, files = memory(process), len(open_files(process))
    pieces = (
        piece
        for part in ([head(more=BOUNDARY + CHUNKED)], [b"60\r\n" + (FILE % b"0").ljust(96) + b"\r\n"])
        for piece in part
    )
    _, _, sent = send(process, (piece for part in (pieces, chunks(60_000_000)) for piece in part))
    assert sent < 30_000_000
    assert memory(process) - before < 20_000_000
    eventually_as_before(process, files)
    assert_serves(process)


@pytest.mark.parametrize("token", [None, "a-token-that-nobody-knows"])
def test_a_stranger_is_told_so_before_the_server_takes_the_upload(process: Process, token: str | None) -> None:
    with connect(process) as connection:
        connection.sendall(head(token=token, more=BOUNDARY + LENGTH % (MAX_REQUEST - 1)) + FILE % b"0" + MEGABYTE)
        status, body = answer(connection)
        assert (status, code(body)) == (200, "UNAUTHENTICATED")
        assert "data" not in orjson.loads(body)
        assert temporary(process) == []
        for _ in range(2):
            connection.sendall(MEGABYTE)
        assert temporary(process) == []


def test_somebody_who_is_known_may_upload(process: Process) -> None:
    """The file is written as it comes: what the test above sees not, is seen here."""
    body = form(orjson.dumps({"query": SAVE_FIX, "variables": {}}), b"{}", MEGABYTE * 3, end=b"")
    with connect(process) as connection:
        connection.sendall(head(more=BOUNDARY + LENGTH % (MAX_REQUEST - 1)) + body)
        wait_until(lambda: bool(temporary(process)))
    eventually_as_before(process, len(open_files(process)))


FIX = orjson.dumps({"query": SAVE_FIX, "variables": {"input": {"file": None}}})
PLACE = b'{"0": ["variables.input.file"]}'
LARGE = photo(size=(64, 48)) + MEGABYTE * 2
BROKEN: dict[str, bytes] = {
    "no end": form(FIX, PLACE, LARGE, end=b""),
    "no end and no line": form(FIX, PLACE, LARGE, end=b"")[:-2],
    "a boundary with more behind it": form(FIX, PLACE, LARGE, end=b"--bc--\r\n--b--\r\n"),
    "another boundary": form(FIX, PLACE, LARGE).replace(b"--b", b"--c"),
    "101 files": form(FIX, PLACE, *[LARGE[:10]] * 101),
    "three fields": FIELD % b"more" + b"x\r\n" + form(FIX, PLACE, LARGE),
    "operations of 2 MB": form(b'"' + MEGABYTE * 2 + b'"', PLACE, LARGE),
    "a map of 2 MB": form(FIX, b'{"0": ["' + MEGABYTE * 2 + b'"]}', LARGE),
    "a field without a name": form(
        FIX, PLACE, LARGE, end=b"--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    ),
    "two files of one name": form(FIX, PLACE, LARGE, LARGE, end=FILE % b"0" + LARGE + b"\r\n--b--\r\n"),
    "operations twice": FIELD % b"operations" + FIX + b"\r\n" + form(FIX, PLACE, LARGE),
    "a part without a header": form(FIX, PLACE, LARGE, end=b"--b\r\n\r\nx\r\n--b--\r\n"),
    "a disposition of rubbish": form(
        FIX, PLACE, LARGE, end=b'--b\r\ncontent-disposition: ;;="\xff;;\r\n\r\nx\r\n--b--\r\n'
    ),
    "a header without a colon": form(FIX, PLACE, LARGE, end=b"--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n"),
    "a header without an end": form(FIX, PLACE, LARGE, end=b"--b\r\nx: " + MEGABYTE),
    "a part of 10,000 headers": form(FIX, PLACE, LARGE, end=b"--b\r\n" + b"x: y\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n"),
    "a file for 200 places": form(
        orjson.dumps({"query": SAVE_FIX, "variables": {"input": [None] * 200}}),
        orjson.dumps({"0": [f"variables.input.{number}" for number in range(200)]}),
        LARGE,
    ),
    "__proto__": form(FIX, b'{"__proto__": ["variables.input.file"]}', LARGE),
    "a path to __proto__": form(FIX, b'{"0": ["variables.__proto__.file"]}', LARGE),
    "a path to constructor.prototype": form(FIX, b'{"0": ["variables.constructor.prototype"]}', LARGE),
    "a path to __class__": form(FIX, b'{"0": ["variables.__class__.__init__"]}', LARGE),
    "a path of 100,000 steps": form(FIX, orjson.dumps({"0": ["variables" + ".a" * 100_000]}), LARGE),
    "an index of 5,000 digits": form(
        orjson.dumps({"query": SAVE_FIX, "variables": {"input": [None]}}),
        orjson.dumps({"0": ["variables.input." + "9" * 5_000]}),
        LARGE,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_form_is_refused_and_its_files_are_gone(process: Process, kind: str) -> None:
    files = len(open_files(process))
    status, body = post_form(process, BROKEN[kind])
    assert (status, code(body)) == (400, "BAD_REQUEST")
    eventually_as_before(process, files)


def test_a_file_that_is_sent_under_two_names_is_saved_once(process: Process) -> None:
    """What no path leads to is read and thrown away."""
    variables = {"input": {"file": None, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}}
    operations = orjson.dumps({"query": SAVE_FIX, "variables": variables})
    files = len(open_files(process))
    status, body = post_form(process, form(operations, PLACE, photo(), LARGE))
    assert (status, orjson.loads(body)["data"]["saveFix"]["image"]["width"]) == (200, 64)
    eventually_as_before(process, files)


def test_what_is_before_and_behind_a_form_is_passed_over(process: Process) -> None:
    parts = form(QUERY, b"{}")
    status, answered = post_form(process, b"preamble\r\n" * 1000 + parts + b"epilogue\r\n--b\r\n" * 1000)
    assert (status, "errors" in orjson.loads(answered)) == (200, False)


def test_a_form_is_read_wherever_it_is_cut(process: Process) -> None:
    content = photo(size=(8, 8)) + b"\r\n--\r\n-\r\n--a\r\n"
    variables = {"input": {"file": None, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}}
    body = form(orjson.dumps({"query": SAVE_FIX, "variables": variables}), PLACE, content)
    file = body.index(content)
    # At each place in the heads and boundaries; in the file itself at some.
    cuts = {*range(body.index(b"map") - 60, file + 2), *range(file, len(body), 50), *range(len(body) - 30, len(body))}
    with contextlib.ExitStack() as stack:
        connections = {cut: stack.enter_context(connect(process)) for cut in sorted(cuts)}
        for cut, connection in connections.items():
            connection.sendall(head(more=BOUNDARY + LENGTH % len(body)) + body[:cut])
        time.sleep(0.1)  # for what was sent to be read before the rest comes
        for cut, connection in connections.items():
            connection.sendall(body[cut:])
        answers = [answer(connection) for connection in connections.values()]
    saved = [orjson.loads(body)["data"]["saveFix"]["image"] for _, body in answers]
    assert {image["sha256"] for image in saved} == {hashlib.sha256(content).hexdigest()}
    assert {image["originalFileName"] for image in saved} == {"photo.jpg"}


def test_clients_that_vanish_in_the_middle_leave_nothing(process: Process) -> None:
    files = len(open_files(process))
    for size in (0, 10, 1000, 1_500_000):
        for _ in range(5):
            with connect(process) as connection:
                body = form(FIX, PLACE, LARGE)
                connection.sendall(head(more=BOUNDARY + LENGTH % len(body)) + body[:size])
    eventually_as_before(process, files)
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


def test_keys_that_are_sent_twice_count_once(process: Process) -> None:
    body = b'{"query": "{ nothing }", "query": "{ untrained { title } }"}'
    status, answered, _ = send(process, [head(more=as_json(body)), body])
    assert (status, orjson.loads(answered)) == (200, {"data": {"untrained": {"title": "untrained"}}})


def test_nothing_of_all_this_was_an_error_of_the_server(process: Process) -> None:
    """The last of this module: the log of all that was sent before has no line that tells of a bug."""
    lines = process.log()
    assert [line for line in lines if line.get("level") == "error"] == []
    assert {line["status"] for line in lines if "status" in line} <= {0, 200, 400, 404, 405, 408, 413, 415}
    assert "Traceback" not in process.errors.read_text()
