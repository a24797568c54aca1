"""Answers in parts: what @defer and @stream put off comes behind the rest, and is the same answer in the end."""

import gc
import socket
import time
from collections.abc import Generator
from urllib.parse import urlsplit

import orjson
import pytest

from tests.front_door import JSON, RESPONSE, assert_refused
from tests.live import connected
from tests.parts import ACCEPT, MUCH, QUERIES, TYPE, ask, merged, parting, parts_of, told
from tests.rows import Reader, put_datasets, put_images, serving, untrained_pk
from tests.servers import statements_sent

IMAGES = 350  # of each dataset


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Reader]:
    with serving(request.param, request, tmp_path_factory.mktemp("parts")) as server:
        for pk in (untrained_pk(server), *put_datasets(server, ["lunch", "dinner", "empty"])[:2]):
            put_images(server, pk, [{"original_file_name": f"{number}.jpg"} for number in range(IMAGES)])
        yield server


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_parts_together_are_the_whole_answer(library: Reader, query: str) -> None:
    whole = library.result(query)
    parts = merged(ask(library, query))
    assert told(parts.errors) == told(whole.get("errors", []))
    if whole["data"]:
        assert orjson.dumps(parts.data) == orjson.dumps(whole["data"])


DEFERRED, STREAMED = QUERIES["a fragment"], QUERIES["a page"]
OTHERS = {
    "any": "*/*",
    "Apollo's older handler": f"multipart/mixed;deferSpec=20220824,{RESPONSE},{JSON};q=0.9",
    "urql": f"{RESPONSE}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed",
    "GraphiQL": f"{JSON}, multipart/mixed",
    "Relay's and fetch's": JSON,
    "another version": f"multipart/mixed;incrementalSpec=v0.1, {JSON}",
    "none": f"multipart/mixed;incrementalSpec=v0.2;q=0, {JSON}",
}


@pytest.mark.parametrize("accept", OTHERS.values(), ids=OTHERS)
def test_whoever_does_not_ask_for_these_parts_gets_the_same_answer_at_once(library: Reader, accept: str) -> None:
    for query in (DEFERRED, STREAMED):
        answer = library.post(query, accept=accept)
        assert answer.headers["content-type"].partition(";")[0] in (JSON, RESPONSE)
        assert orjson.dumps(answer.json()["data"]) == orjson.dumps(merged(ask(library, query)).data)


def test_what_is_put_off_is_planned_for_whoever_gets_it_at_once(library: Reader) -> None:
    with statements_sent() as statements:
        library.data(STREAMED.replace("dataset { title }", ""))
    assert ["original_file_name" in text and "sha256" not in text for text in statements] == [True]


def test_the_schema_tells_of_both_directives_for_those_who_check_operations_by_it(library: Reader) -> None:
    told = library.data("{ __schema { directives { name locations args { name } } } }")["__schema"]["directives"]
    directives = {each["name"]: ([arg["name"] for arg in each["args"]], each["locations"]) for each in told}
    assert directives["defer"] == (["if", "label"], ["FRAGMENT_SPREAD", "INLINE_FRAGMENT"])
    assert directives["stream"] == (["if", "label", "initialCount"], ["FIELD"])


@pytest.mark.parametrize(
    "query",
    [
        "{ images(first: 20) { nodes @stream(initialCount: 30) { pk } } }",
        "query($now: Boolean! = false) { untrained { pk ... @defer(if: $now) { title } } }",
        "{ untrained { pk ... @skip(if: true) @defer { title } } }",
        "{ untrained { pk } }",
        "mutation { removeImage(input: {pk: 999999}) { ... @defer { image { pk } } } }",
    ],
)
def test_where_nothing_is_put_off_the_answer_is_whole(library: Reader, query: str) -> None:
    with parting(library, query) as answer:
        answer.read()
    assert answer.headers["content-type"].partition(";")[0] == RESPONSE
    assert answer.json() == library.result(query)


def test_a_client_that_takes_nothing_but_parts_gets_one(library: Reader) -> None:
    accept = ACCEPT.partition(",")[0]
    for query in ("{ untrained { title } }", "{ untrained { titel } }"):
        (part,) = parts_of(library.post(query, accept=accept).content)
        assert part == {**library.result(query), "hasNext": False}


@pytest.mark.parametrize(
    "query",
    [
        "{ untrained { pk @stream } }",
        '{ ... @defer(label: "x") { untrained { pk } } images { nodes @stream(label: "x") { pk } } }',
        "query($name: String) { ... @defer(label: $name) { untrained { pk } } }",
        "mutation { ... @defer { removeImage(input: {pk: 1}) { image { pk } } } }",
        "subscription { ... @defer { imageSaved { cursor } } }",
        "subscription { imageSaved { ... @defer { cursor } } }",
        "{ images { nodes @stream(initialCount: 1) { pk } nodes @stream(initialCount: 2) { pk } } }",
    ],
)
def test_what_cannot_be_put_off_is_refused_before_anything_is_done(library: Reader, query: str) -> None:
    for accept in (ACCEPT, JSON):
        assert_refused(library.post(query, accept=accept), 200 if accept == JSON else 400, "GRAPHQL_VALIDATION_FAILED")


def test_over_a_websocket_what_is_put_off_comes_at_once(library: Reader) -> None:
    with connected(library) as client:
        client.begin()
        client.subscribe(DEFERRED)
        assert client.receive()["payload"] == library.result(DEFERRED)


def test_a_negative_count_is_the_clients_mistake(library: Reader) -> None:
    with parting(library, "query($n: Int!) { images { nodes @stream(initialCount: $n) { pk } } }", {"n": -1}) as answer:
        answer.read()
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["BAD_USER_INPUT"]


def test_a_stranger_learns_nothing_from_any_part(library: Reader) -> None:
    stranger = Reader(library.url, library.settings, library.user_server, "a-stranger", library.client)
    for query in (DEFERRED, STREAMED):
        answer = stranger.post(query, accept=ACCEPT).json()
        assert (answer["data"], told(answer["errors"])[0][0]) == (None, "UNAUTHENTICATED")
    parts = merged(ask(stranger, QUERIES["all"]))
    assert (parts.data, {code for code, *_ in told(parts.errors)}) == ({}, {"UNAUTHENTICATED"})


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("{ datasets(first: 100) { nodes { ... @defer { images(first: 1000) { nodes { pk } } } } } }", "COST"),
        ("{ untrained { " + "... @defer { pk } " * 51 + "} }", "DIRECTIVES"),
    ],
)
def test_what_is_put_off_counts_as_what_is_not(library: Reader, query: str, limit: str) -> None:
    answer = library.post(query, accept=ACCEPT)
    assert_refused(answer, 400, "QUERY_TOO_COMPLEX")
    assert f"QUERY_{limit}" in answer.text


@pytest.mark.parametrize(("count", "kind"), [(250, TYPE), (251, RESPONSE)])
def test_what_would_come_in_too_many_parts_comes_at_once(library: Reader, count: int, kind: str) -> None:
    query = "query($n: Int) { images(first: $n) { nodes { ... @defer { pk } ... @defer { sha256 } } } }"
    with parting(library, query, {"n": count}) as answer:
        answer.read()
    assert answer.headers["content-type"].startswith(kind)


STATEMENTS = {
    QUERIES["a page"]: 4 + 1,  # 10, 100, 100 and 30 images, and the datasets of the first
    QUERIES["a page and its place"]: 2,
    QUERIES["a page and its place, deferred"]: 3,
    QUERIES["a page from the end"]: 1,
    QUERIES["a fragment"]: 2,
    QUERIES["pages in a page"]: 4,
    "{ datasets(first: 3) { nodes { images(first: 200) { nodes @stream { pk dataset { title } } } } } }": 3,
    "{ datasets { nodes @stream { pk images(first: 2) { nodes { pk } } } } }": 2,
}


@pytest.mark.parametrize(("query", "count"), STATEMENTS.items())
def test_parts_ask_for_no_more_than_the_whole_and_a_piece_by_one_statement(
    library: Reader, query: str, count: int
) -> None:
    with statements_sent() as statements:
        merged(ask(library, query))
    assert len(statements) == count, statements


def test_nothing_is_read_ahead_of_a_client_that_does_not_read(library: Reader) -> None:
    """Nor for one that has gone."""
    body = orjson.dumps({"query": f"{{ images(first: 1000) {{ nodes @stream(initialCount: 50) {{ {MUCH} }} }} }}"})
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\naccept: {ACCEPT}\r\ncontent-type: {JSON}\r\n"
    head += f"authorization: {library.headers['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
    place = urlsplit(library.url)
    with socket.socket() as client, statements_sent() as statements:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((place.hostname, place.port))
        client.sendall(head.encode() + body)
        assert client.recv(9) == b"HTTP/1.1 "
        stalled = number_in_the_end(library, statements)
        assert 1 < stalled < 8
        while len(statements) == stalled:
            assert client.recv(16_384)
            time.sleep(0.005)  # for what is read then, before all that is sent already has been taken
        read = number_in_the_end(library, statements)
        assert read < 11
        client.close()
        assert number_in_the_end(library, statements) == read


def number_in_the_end(server: Reader, statements: list[str]) -> int:
    """Of the statements, when the server sends no more although it has the time, and the database, too."""
    number = -1
    while number != len(statements):
        number = len(statements)
        for _ in range(30):
            server.data("{ __typename }")
        time.sleep(0.3)
    return number


@pytest.mark.parametrize(
    "query",
    [
        "{ images(first: 200) { edges @stream { node { dataset { images(first: -1) { totalCount } } } } } }",
        "{ ... @defer { images(first: 200) { nodes { pk dataset { images(first: -1) { totalCount } } } } } }",
        """{ datasets(first: 3) { nodes @stream { images(first: 150) { nodes {
            dataset { images(first: 1, after: "x") { totalCount } } } } } } }""",
    ],
    ids=["a streamed list", "a deferred list", "a list in a streamed one"],
)
def test_what_fails_in_a_list_besides_the_first_item_leaves_nothing_in_the_log(
    library: Reader, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert merged(ask(library, query)).errors
    assert library.post(query).json()["errors"]
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
