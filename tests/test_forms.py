"""Forms that are endless, broken, cut anywhere or sent by strangers: a clear error, and no file is left behind."""

import contextlib
import hashlib
import time

import orjson
import pytest

from tests.octets import (
    CHUNKED,
    LENGTH,
    MAX_REQUEST,
    MEGABYTE,
    QUERY,
    answer,
    assert_serves,
    chunks,
    code,
    connect,
    eventually_as_before,
    head,
    memory,
    open_files,
    send,
    temporary,
)
from tests.photos import photo
from tests.processes import Process
from tests.servers import SAVE_FIX
from tests.waiting import wait_until

BOUNDARY = b"content-type: multipart/form-data; boundary=b\r\ngraphql-require-preflight: 1\r\n"
FILE = b'--b\r\ncontent-disposition: form-data; name="%s"; filename="photo.jpg"\r\n\r\n'
FIELD = b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n'


def form(operations: bytes, places: bytes, *files: bytes, end: bytes = b"--b--\r\n") -> bytes:
    parts = [FIELD % b"operations" + operations + b"\r\n", FIELD % b"map" + places + b"\r\n"]
    parts += [FILE % b"%d" % number + content + b"\r\n" for number, content in enumerate(files)]
    return b"".join(parts) + end


def post_form(process: Process, body: bytes) -> tuple[int, bytes]:
    status, answered, _ = send(process, [head(more=BOUNDARY + LENGTH % len(body)), body])
    return status, answered


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
