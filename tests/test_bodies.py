"""Bodies and forms: what is no request is refused with a reason, never with a failure of the server."""

import asyncio
import gzip
from collections.abc import Generator, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from graphql_server import migrations
from tests.front_door import ANSWER, JSON, PREFLIGHT, QUERY, RESPONSE, assert_refused, code, send, send_form
from tests.holdings import holdings
from tests.persisted import by_get
from tests.photos import photo
from tests.servers import Server, running, settings_for
from tests.shared import sharing

FIX = """mutation($file: Upload!) {
  saveFix(input: {file: $file, modelDegree: 0, confidence: 1, userFixDegree: 0}) { image { pk } }
}"""


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


RUBBISH: dict[str, bytes] = {
    "nothing": b"",
    "a text": b'"x"',
    "null": b"null",
    "a number": b"1",
    "a list": b"[]",
    "a batch": orjson.dumps([{"query": QUERY}] * 10),
    "no JSON": b"{query}",
    "half of JSON": b'{"query": "{ untr',
    "not UTF-8": b'{"query": "\xff"}',
    "overlong UTF-8": b'{"query": "\xc0\xaf"}',
    "UTF-16": '{"query": "{ untrained { pk } }"}'.encode("utf-16"),
    "half of a character": b'{"query": "{ untrained { pk } }", "variables": {"a": "\\ud800"}}',
    "deep": b"[" * 200_000,
    "deep and closed": b"[" * 10_000 + b"]" * 10_000,
    "packed": gzip.compress(orjson.dumps({"query": QUERY})),
    "no query": b"{}",
    "query null": b'{"query": null}',
    "query empty": b'{"query": " "}',
    "query a list": b'{"query": ["{ untrained { pk } }"]}',
    "variables a list": b'{"query": "{ untrained { pk } }", "variables": [1]}',
    "variables a text": b'{"query": "{ untrained { pk } }", "variables": "{}"}',
    "operationName a number": b'{"query": "{ untrained { pk } }", "operationName": 1}',
    "extensions a list": b'{"query": "{ untrained { pk } }", "extensions": [1]}',
    "NaN": b'{"query": "{ untrained { pk } }", "variables": {"a": NaN}}',
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_a_body_that_is_no_request_is_400(shared: Server, kind: str) -> None:
    answer = send(shared, content=RUBBISH[kind], headers={"content-type": JSON})
    assert_refused(answer, 400, "BAD_REQUEST")


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("size", [1, 5000])
def test_a_request_that_comes_again_has_its_answer_and_from_a_stranger_none(
    shared: Server, method: str, size: int
) -> None:
    operation = {"query": QUERY, "variables": {"again": "x" * size}}
    request: dict[str, Any] = {"json": operation} if method == "POST" else {"params": by_get(operation)}
    for _ in range(3):
        assert send(shared, method, **request).json() == ANSWER
        stranger = send(shared, method, **request, headers={"authorization": "Bearer nobody"})
        assert code(stranger) == "UNAUTHENTICATED"


def test_a_number_of_5000_digits_is_refused_like_any_other_wrong_variable(shared: Server) -> None:
    body = b'{"query": "query($pk: Int!) { image(pk: $pk) { pk } }", "variables": {"pk": %s}}' % (b"1" * 5_000)
    answer = send(shared, content=body, headers={"content-type": JSON, "accept": RESPONSE})
    assert answer.status_code == 400
    literal = send(shared, json={"query": f"{{ image(pk: {'1' * 5_000}) {{ pk }} }}"}, headers={"accept": RESPONSE})
    assert literal.status_code == 400
    assert len(literal.content) < 7_000


@pytest.mark.parametrize("field", ["variables", "operationName", "extensions"])
def test_what_a_request_need_not_have_may_be_null(shared: Server, field: str) -> None:
    assert send(shared, json={"query": QUERY, field: None}).json() == ANSWER


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/graphql", "json"],
)
def test_other_types_of_bodies_are_415(shared: Server, kind: str | None) -> None:
    content = orjson.dumps({"query": QUERY})
    answer = send(shared, content=content, headers={} if kind is None else {"content-type": kind})
    assert_refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("kind", ["Application/JSON", "application/json; charset=utf-8", "application/json;x=y"])
def test_the_type_of_a_body_may_be_written_in_capitals_and_with_parameters(shared: Server, kind: str) -> None:
    answer = send(shared, content=orjson.dumps({"query": QUERY}), headers={"content-type": kind})
    assert answer.json() == ANSWER


# Forms


OPERATIONS = {"query": FIX, "variables": {"file": None}}
PLACES = {"0": ["variables.file"]}
FORMS: dict[str, tuple[Any, Any]] = {
    "no operations": (..., PLACES),
    "no map": (OPERATIONS, ...),
    "operations null": (None, PLACES),
    "operations a number": (1, PLACES),
    "operations true": (True, PLACES),
    "operations a text": ("x", PLACES),
    "operations in quotes": (b'"x"', PLACES),
    "operations a list": ([OPERATIONS], {"0": ["0.variables.file"]}),
    "operations empty": ({}, PLACES),
    "operations deep": (b"[" * 10_000, PLACES),
    "operations not UTF-8": (b"\xff", PLACES),
    "operations without variables": ({"query": FIX}, PLACES),
    "variables a list": ({"query": FIX, "variables": [None]}, {"0": ["variables.0"]}),
    "map null": (OPERATIONS, None),
    "map a number": (OPERATIONS, 1),
    "map a text": (OPERATIONS, b'"variables.file"'),
    "map a list": (OPERATIONS, [["variables.file"]]),
    "map not JSON": (OPERATIONS, "{"),
    "a file's paths null": (OPERATIONS, {"0": None}),
    "a file's paths a text": (OPERATIONS, {"0": "variables.file"}),
    "a path a number": (OPERATIONS, {"0": [1]}),
    "a path an object": (OPERATIONS, {"0": [{"variables": "file"}]}),
    "a path null": (OPERATIONS, {"0": [None]}),
    "an empty path": (OPERATIONS, {"0": [""]}),
    "a path to nowhere": (OPERATIONS, {"0": ["variables.other"]}),
    "a path to all variables": (OPERATIONS, {"0": ["variables"]}),
    "a path to the query": (OPERATIONS, {"0": ["query"]}),
    "a path below the null": (OPERATIONS, {"0": ["variables.file.x"]}),
    "a path through a text": ({"query": FIX, "variables": {"file": "abc"}}, {"0": ["variables.file.0"]}),
    "a path to a value": ({"query": FIX, "variables": {"file": 5}}, {"0": ["variables.file"]}),
    "an index out of range": ({"query": FIX, "variables": {"file": [None]}}, {"0": ["variables.file.1"]}),
    "an index below 0": ({"query": FIX, "variables": {"file": [None]}}, {"0": ["variables.file.-1"]}),
    "an index that is a word": ({"query": FIX, "variables": {"file": [None]}}, {"0": ["variables.file.x"]}),
    "two files for one place": (OPERATIONS, {"0": ["variables.file", "variables.file"]}),
    "a file that is not sent": (OPERATIONS, {"1": ["variables.file"]}),
    "a file that is a field": (OPERATIONS, {"operations": ["variables.file"]}),
    "101 places": (
        {"query": FIX, "variables": {"file": [None] * 101}},
        {"0": [f"variables.file.{number}" for number in range(101)]},
    ),
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_is_no_request_is_400_and_changes_nothing(shared: Server, kind: str) -> None:
    before = holdings(shared.settings)
    assert_refused(send_form(shared, *FORMS[kind]), 400, "BAD_REQUEST")
    assert holdings(shared.settings) == before


def test_operations_that_come_as_a_file_are_refused(shared: Server) -> None:
    files = {"operations": ("operations.json", orjson.dumps(OPERATIONS)), "0": ("photo.jpg", photo())}
    assert_refused(send_form(shared, ..., PLACES, files), 400, "BAD_REQUEST")


def test_an_upload_that_comes_as_a_text_is_told_to_come_as_a_file(shared: Server) -> None:
    """So does what curl is given without an @ before its name."""
    answer = send_form(shared, OPERATIONS, {"photo": ["variables.file"]}, {"photo": (None, b"photo.jpg")})
    assert_refused(answer, 400, "BAD_REQUEST")
    expected = "The form's field 'photo' came as a text; send it as a file, with a filename."
    assert answer.json()["errors"][0]["message"] == expected


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"rubbish"),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="operations"\r\n\r\n{"quer'),
        (f"multipart/form-data; boundary={'x' * 5_000}", b"--x"),
        ("multipart/form-data; boundary=\xe9", b"--x"),
        (
            "multipart/form-data; boundary=x; charset=undefined",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb',
        ),
    ],
)
def test_a_form_that_cannot_be_read_is_400(shared: Server, kind: str, content: bytes) -> None:
    headers = {**PREFLIGHT, "content-type": kind.encode("latin-1")}
    assert_refused(send(shared, content=content, headers=headers), 400, "BAD_REQUEST")


def test_a_form_without_a_header_that_makes_browsers_ask_first_is_403(shared: Server) -> None:
    before = holdings(shared.settings)
    answer = send_form(shared, OPERATIONS, PLACES, origin="https://evil.example")
    assert_refused(answer, 403, "PREFLIGHT_REQUIRED")
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("name", ["GraphQL-Require-Preflight", "Apollo-Require-Preflight", "X-Apollo-Operation-Name"])
def test_any_of_the_known_headers_will_do(shared: Server, name: str) -> None:
    assert "errors" not in send_form(shared, OPERATIONS, PLACES, None, **{name: "1"}).json()


def test_the_type_of_a_form_may_be_written_in_capitals(shared: Server) -> None:
    parts = {"operations": (None, orjson.dumps({"query": QUERY})), "map": (None, b"{}")}
    request = httpx.Request("POST", f"{shared.url}/graphql", files=parts, headers={**shared.headers, **PREFLIGHT})
    kind = request.headers["content-type"].replace("multipart/form-data", "Multipart/Form-Data")
    answer = send(shared, content=request.read(), headers={**PREFLIGHT, "content-type": kind})
    assert answer.json() == ANSWER


# Sizes


def test_a_request_that_says_it_is_too_large_is_413_at_once(shared: Server) -> None:
    address = httpx.URL(shared.url)
    with closing(HTTPConnection(address.host, address.port or 80, timeout=10)) as connection:
        connection.putrequest("POST", "/graphql")
        for name, value in {"content-type": JSON, "content-length": "10000000000", **shared.headers}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (413, f"{JSON}; charset=utf-8")
        assert orjson.loads(answer.read())["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.anyio
async def test_who_is_still_sending_what_is_too_large_reads_so(shared: Server) -> None:
    headers = {"content-type": JSON, **shared.headers}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for size in (1_100_000, 5_000_000) * 3:
            body = orjson.dumps({"query": QUERY, "more": "x" * size})
            answer = await client.post(f"{shared.url}/graphql", content=body, headers=headers)
            assert_refused(answer, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "padding", "status", "expected"),
    [("POST", 40_000, 431, "HEADERS_TOO_LARGE"), ("BREW", 0, 400, "BAD_REQUEST")],
)
async def test_who_is_still_sending_what_is_refused_by_its_head_reads_so(
    shared: Server, method: str, padding: int, status: int, expected: str
) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        for size in (1_100_000, 5_000_000) * 3:
            headers = {"content-type": JSON, "x-padding": "x" * padding}
            answer = await client.request(method, f"{shared.url}/graphql", content=b" " * size, headers=headers)
            assert_refused(answer, status, expected)


def test_a_request_that_grows_too_large_is_413(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with running(settings_for(url, tmp_path / "media", max_request_bytes=100_000)) as server:
        before = holdings(server.settings)
        large = {"0": ("photo.jpg", photo() + bytes(100_000))}
        assert_refused(send_form(server, OPERATIONS, PLACES, large), 413, "PAYLOAD_TOO_LARGE")

        def pieces(first: bytes) -> Iterator[bytes]:
            yield first
            for _ in range(100):
                yield b" " * 100_000

        for kind, first in ((JSON, b'{"query": "'), ("multipart/form-data; boundary=x", b"--x\r\n")):
            answer = send(server, content=pieces(first), headers={**PREFLIGHT, "content-type": kind})
            assert answer.status_code in (400, 413)
        answer = send(server, content=pieces(b"{"), headers={"content-type": JSON})
        assert_refused(answer, 413, "PAYLOAD_TOO_LARGE")
        assert holdings(server.settings) == before
        assert server.data(QUERY) == ANSWER["data"]


def test_a_large_body_of_a_stranger_is_not_prepared(shared: Server) -> None:
    body = orjson.dumps({"query": "{ __typename }" + " " * 20_000})
    for headers, codes in (({}, ["UNAUTHENTICATED"]), (shared.headers, [])):
        answer = httpx.post(
            f"{shared.url}/graphql", content=body, headers={**headers, "content-type": JSON}, verify=False
        )
        assert [error["extensions"]["code"] for error in answer.json().get("errors", [])] == codes


def test_a_form_that_is_encoded_is_415(shared: Server) -> None:
    answer = send_form(shared, OPERATIONS, PLACES, None, **PREFLIGHT, **{"content-encoding": "gzip"})
    assert_refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    plain = send_form(shared, OPERATIONS, PLACES, None, **PREFLIGHT, **{"content-encoding": "identity"})
    assert "errors" not in plain.json()


def test_a_json_body_that_is_encoded_is_415(shared: Server) -> None:
    answer = shared.post("{ untrained { pk } }", {}, **{"content-encoding": "gzip"})
    assert_refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert shared.post("{ untrained { pk } }", {}, **{"content-encoding": "identity"}).status_code == 200


def test_an_upgrade_to_another_protocol_is_answered_by_http_and_warns_nobody(
    shared: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Java's client asks for HTTP/2 so, with whatever it sends first."""
    body = orjson.dumps({"query": QUERY})
    for protocol in ("h2c", "websocket"):
        wish = {"connection": "Upgrade, HTTP2-Settings", "upgrade": protocol, "http2-settings": "AAMAAABkAAQ"}
        for content in (body, iter([body[:10], body[10:]])):  # the second in chunks
            answer = send(shared, content=content, headers={**wish, "content-type": JSON})
            assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert shared.get("/healthz", connection="upgrade", upgrade="h2c").status_code == 200
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
