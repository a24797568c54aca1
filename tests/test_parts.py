"""Answers in parts: what @defer and @stream put off comes behind the rest, and is the same answer in the end."""

import dataclasses
import gc
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.chaos.mysql import stranger
from tests.front_door import JSON, RESPONSE, assert_refused
from tests.live import connected
from tests.nginx import fronting
from tests.parts import ACCEPT, MUCH, TYPE, ask, merged, parting, parts_of
from tests.photos import photo
from tests.processes import free_port
from tests.rows import IMAGE, Reader, put_datasets, put_images, serving, sql, untrained_pk
from tests.scrapes import await_value, read, value
from tests.servers import KEY, Server, running, settings_for, statements_sent
from tests.waiting import wait_until

IMAGES = 350  # of each dataset
# What is put off stands behind the rest, so that the parts put together have the whole answer's order.
QUERIES = {
    "a fragment": "{ datasets { nodes { title ... @defer { images(first: 2) { nodes { originalFileName } } } } } }",
    "a fragment with a name": """{ datasets { nodes { pk ...Pictures @defer(label: "pictures") } } }
        fragment Pictures on Dataset { images(first: 3) { totalCount nodes { url } pageInfo { hasNextPage } } }""",
    "all": "{ ... @defer { datasets { nodes { pk } } untrained { title } } }",
    "fragments in fragments": """{ untrained { pk ... @defer { title ... @defer { images(first: 3) {
        nodes { pk ... @defer { originalFileName } } } } } } }""",
    "two fragments of the same": """{ untrained { pk ... @defer(label: "a") { images { totalCount } }
        ... @defer(label: "b") { images { totalCount nodes { pk } } } } }""",
    "a page": """{ images(first: 240) { nodes @stream(initialCount: 10) {
        pk originalFileName url dataset { title } } } }""",
    "a page from nothing on": "{ images(first: 240) { edges @stream { cursor node { pk } } } }",
    "a page in its first items": "{ images(first: 20) { nodes @stream(initialCount: 20) { pk } } }",
    "nothing": '{ images(filter: {originalFileName: {equals: "x"}}) { nodes @stream { pk } } }',
    "a page from the end": "{ images(last: 150) { pageInfo { startCursor } edges @stream { node { pk } } } }",
    "a page and its place": """{ images(first: 150) { pageInfo { endCursor hasNextPage hasPreviousPage }
        nodes @stream { pk } } }""",
    "a page and its place, deferred": """{ images(first: 150) { nodes @stream(initialCount: 5) { pk }
        ... @defer { pageInfo { endCursor hasNextPage } totalCount } } }""",
    "a page in a deferred fragment": """{ ... @defer { images(first: 150) { nodes @stream(initialCount: 5) { pk }
        pageInfo { endCursor hasNextPage } } } }""",
    "both forms of a page": """{ images(first: 150) { nodes @stream(initialCount: 2) { pk }
        edges @stream(initialCount: 5) { cursor } } }""",
    "pages in a page": "{ datasets { nodes @stream(initialCount: 1) { pk images(first: 2) { nodes { pk } } } } }",
    "streams in a stream": """{ datasets(first: 3) { nodes @stream { pk images(first: 120) {
        nodes @stream(initialCount: 1) { pk ... @defer { sha256 } } } } } }""",
    "objects by their ids": '{ nodes(ids: ["SW1hZ2U6MQ==", "SW1hZ2U6OTk5OTk=", "RGF0YXNldDox"]) @stream { id } }',
    "an error": '{ untrained { pk ... @defer { images(after: "x") { totalCount } } } }',
    "an error in a list": """{ _entities(representations: [{__typename: "Dataset", pk: 1}, {__typename: "X"}])
        @stream(initialCount: 1) { ... on Dataset { pk } } }""",
    "an error after others": """{ untrained { pk ... @defer { title }
        ... @defer { images(first: 1001) { totalCount } } } }""",
}


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Reader]:
    with serving(request.param, request, tmp_path_factory.mktemp("parts")) as server:
        for pk in (untrained_pk(server), *put_datasets(server, ["lunch", "dinner", "empty"])[:2]):
            put_images(server, pk, [{"original_file_name": f"{number}.jpg"} for number in range(IMAGES)])
        yield server


def told(errors: list[dict[str, Any]]) -> list[Any]:
    return sorted(([error["extensions"]["code"], error["path"], error["message"]] for error in errors), key=str)


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


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_the_head_comes_before_what_is_put_off_is_read_through_nginx_too(server: Server, tmp_path: Path) -> None:
    image = server.save(photo())
    port = int(server.url.rpartition(":")[2])
    with (
        fronting(tmp_path, server.settings.media_root, port, KEY) as front,
        stranger(server.settings.database_url) as other,
    ):
        for url in (server.url, f"http://127.0.0.1:{front.port}"):
            other.run("LOCK TABLES image_info WRITE")
            query = "{ untrained { title ... @defer { images { nodes { pk } } } } }"
            with parting(dataclasses.replace(server, url=url), query) as response:
                pieces, came = response.iter_bytes(), b""
                while came.count(b"--graphql") < 2:
                    came += next(pieces)
                assert b'{"data":{"untrained":{"title":"untrained"}}' in came
                other.run("UNLOCK TABLES")
                came += b"".join(pieces)
            assert merged(parts_of(came)).data["untrained"]["images"] == {"nodes": [{"pk": image["pk"]}]}


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_when_a_client_has_gone_what_it_waits_for_is_given_up(database_url: str, media_root: Path) -> None:
    """The only connection would otherwise be held for longer than the test waits for an answer."""
    with (
        running(settings_for(database_url, media_root, database_pool=1, database_seconds=100)) as server,
        stranger(database_url) as other,
    ):
        other.run("LOCK TABLES image_info WRITE")
        with parting(server, "{ untrained { title ... @defer { images { nodes { pk } } } } }") as response:
            pieces, came = response.iter_bytes(), b""
            while came.count(b"--graphql") < 2:
                came += next(pieces)
            wait_until(lambda: "FROM image_info" in str(sql(server, "SHOW FULL PROCESSLIST")))
        assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_what_fails_later_is_told_as_what_fails_at_once(database_url: str, media_root: Path) -> None:
    query = "{ datasets { nodes { title ... @defer { images { nodes { pk } } } } } }"
    with (
        running(settings_for(database_url, media_root, database_seconds=2.0)) as server,
        stranger(database_url) as other,
    ):
        other.run("LOCK TABLES image_info WRITE")
        parts = merged(ask(server, query))
    assert parts.data["datasets"]["nodes"][0] == {"title": "untrained"}
    assert [(code, path[:3]) for code, path, _ in told(parts.errors)] == [
        ("OPERATION_TIMED_OUT", ["datasets", "nodes", 0])
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_answer_in_parts_is_one_operation_and_one_request(database_url: str, media_root: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    with running(settings_for(database_url, media_root, metrics=("127.0.0.1", int(place.partition(":")[2])))) as server:
        assert len(ask(server, QUERIES["an error after others"])) > 1
        assert len(ask(server, QUERIES["all"])) > 1
        await_value(place, 2, "http_request_duration_seconds_count", route="graphql")
        samples = read(place)
    for outcome in ("ok", "errors"):
        assert value(samples, "operation_duration_seconds_count", operation="query", outcome=outcome) == 1
    assert value(samples, "errors_total", code="BAD_USER_INPUT") == 1


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


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_list_that_breaks_off_keeps_what_came_before(server: Server) -> None:
    """MySQL's keys are all integers of GraphQL."""
    put_images(server, untrained_pk(server), [{"original_file_name": f"{number}.jpg"} for number in range(150)])
    columns = ", ".join(IMAGE)
    sql(
        server,
        f"INSERT INTO image_info (pk, dataset_info_pk, {columns}) SELECT 1 << 40, 1, {columns} FROM image_info LIMIT 1",
    )
    query = "{ images(first: 1000) { nodes @stream(initialCount: 20) { pk } } }"
    assert server.result(query)["data"] is None
    parts = merged(ask(server, query))
    assert parts.data == {"images": {"nodes": [{"pk": pk} for pk in range(1, 151)]}}
    assert [(code, path) for code, path, _ in told(parts.errors)] == [
        ("BAD_USER_INPUT", ["images", "nodes", 150, "pk"])
    ]


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


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_bug_is_masked_in_every_part(server: Server) -> None:
    put_images(server, untrained_pk(server), [{"created_at": text} for text in ("2026-11-23 10:20:30", "never")])
    fragment = "images(first: 1000) { nodes @stream(initialCount: 1) { pk createdAt } }"
    for query in (f"{{ {fragment} }}", f"{{ untrained {{ pk ... @defer {{ {fragment} }} }} }}"):
        parts = merged(ask(server, query))
        (error,) = parts.errors
        assert (error["extensions"]["code"], error["path"][-1]) == ("INTERNAL_SERVER_ERROR", "createdAt")
        assert "never" not in str(error)
        images = parts.data.get("untrained", parts.data)["images"]["nodes"]
        assert [image["createdAt"] is None for image in images] == [False, True]
