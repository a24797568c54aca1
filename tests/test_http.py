"""GraphQL over HTTP: methods, media types, statuses, other paths and other origins."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphql_server import migrations
from graphql_server.http import graphiql
from tests.front_door import ANSWER, JSON, QUERY, RESPONSE, assert_refused, code, send
from tests.holdings import holdings
from tests.photos import photo
from tests.servers import Server, running, settings_for
from tests.shared import sharing


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


# The two methods


def test_a_query_may_come_by_get_and_by_post(shared: Server) -> None:
    query = "query Title($pk: Int!) { untrained { title } dataset(pk: $pk) { pk } } query Other { untrained { pk } }"
    expected = {"data": {"untrained": {"title": "untrained"}, "dataset": None}}
    asked = {"query": query, "operationName": "Title"}
    assert send(shared, json={**asked, "variables": {"pk": -1}}).json() == expected
    assert send(shared, "GET", params={**asked, "variables": '{"pk": -1}'}).json() == expected


def test_no_cache_keeps_an_answer_that_only_its_user_may_have(shared: Server) -> None:
    for answer in (send(shared, "GET", params={"query": QUERY}), send(shared, "GET", params={"query": "{"})):
        assert answer.headers["cache-control"] == "no-store"


def test_a_mutation_by_get_is_405_and_changes_nothing(shared: Server) -> None:
    before = holdings(shared.settings)
    mutation = 'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }'
    answer = send(shared, "GET", params={"query": mutation})
    assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in answer.headers["allow"]
    both = {"query": f"query Q {QUERY} {mutation.replace('mutation', 'mutation M')}"}
    assert_refused(send(shared, "GET", params={**both, "operationName": "M"}), 405, "METHOD_NOT_ALLOWED")
    assert send(shared, "GET", params={**both, "operationName": "Q"}).json() == ANSWER
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_405_and_told_which_are_allowed(shared: Server, method: str) -> None:
    answer = send(shared, method, json={"query": QUERY})
    assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "parameters",
    [{}, {"query": ""}, {"query": "{"}, {"query": QUERY, "variables": "{"}, {"query": QUERY, "variables": "[]"}],
)
def test_a_get_that_is_no_query_is_refused(shared: Server, parameters: dict[str, str]) -> None:
    answer = send(shared, "GET", params=parameters, headers={"accept": RESPONSE})
    assert answer.status_code == 400
    assert code(answer) in ("BAD_REQUEST", "GRAPHQL_PARSE_FAILED")


# The two media types of answers


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE, RESPONSE),
        (f"{JSON}, {RESPONSE}", RESPONSE),
        (f"{RESPONSE};q=0.1, {JSON}", JSON),
        (f"{RESPONSE}; charset=utf-8, {JSON}; q=0.9", RESPONSE),
        ("text/html, application/json;q=0.5", JSON),
        ("Application/JSON", JSON),
        (",", JSON),
        (f"{RESPONSE};q=0, */*", JSON),
    ],
)
def test_the_answer_has_the_media_type_that_the_client_prefers(shared: Server, accept: str | None, kind: str) -> None:
    request = httpx.Request(
        "POST",
        f"{shared.url}/graphql",
        json={"query": QUERY},
        headers={**shared.headers, **({"accept": accept} if accept else {})},
    )
    with httpx.Client(verify=False, timeout=60) as client:
        answer = client.send(request)
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert (answer.status_code, answer.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/*",
        "application/json;q=0",
        "text/html, x",
        "text/event-stream;q=0",
        "text/event-stream; Q=0.000, text/html",
        "text/event-stream;q=none",
        "multipart/mixed;subscriptionSpec=1.0;q=0",
        "multipart/mixed;incrementalSpec=v0.2;q=0.0",
    ],
)
def test_a_client_that_takes_neither_type_gets_406(shared: Server, accept: str) -> None:
    assert_refused(send(shared, json={"query": QUERY}, headers={"accept": accept}), 406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize("kind", [JSON, RESPONSE])
def test_an_accept_of_several_lines_is_one(shared: Server, kind: str) -> None:
    lines = [("accept", "text/html"), ("accept", kind)]
    answer = send(shared, json={"query": QUERY}, headers=lines)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{kind}; charset=utf-8")


FAILING: dict[str, dict[str, Any]] = {
    "GRAPHQL_PARSE_FAILED": {"query": "{"},
    "GRAPHQL_VALIDATION_FAILED": {"query": "{ nothing }"},
    "BAD_USER_INPUT": {"query": "query($pk: Int!) { image(pk: $pk) { pk } }", "variables": {"pk": "one"}},
    "OPERATION_RESOLUTION_FAILURE": {"query": f"query A {QUERY} query B {QUERY}"},
}


@pytest.mark.parametrize("expected", FAILING)
def test_what_fails_before_execution_is_400_or_in_plain_json_200_and_has_no_data(shared: Server, expected: str) -> None:
    for kind, status in ((RESPONSE, 400), (JSON, 200)):
        answer = send(shared, json=FAILING[expected], headers={"accept": kind})
        assert_refused(answer, status, expected)
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


@pytest.mark.parametrize("name", ["C", "a", "A "])
def test_an_operation_name_that_the_document_does_not_have_is_refused(shared: Server, name: str) -> None:
    body = {"query": f"query A {QUERY} query B {QUERY}", "operationName": name}
    assert_refused(send(shared, json=body, headers={"accept": RESPONSE}), 400, "OPERATION_RESOLUTION_FAILURE")


@pytest.mark.parametrize("kind", [JSON, RESPONSE])
def test_what_fails_in_execution_is_200_and_has_data(shared: Server, kind: str) -> None:
    query = "mutation { removeImage(input: {pk: 0}) { image { pk } } }"
    answer = send(shared, json={"query": query}, headers={"accept": kind})
    assert (answer.status_code, code(answer), answer.json()["data"]) == (200, "NOT_FOUND", {"removeImage": None})


# Other paths


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/graphql/", "/healthz/", "/graphql/x", "/favicon.ico", "//", "/graphiql/assets/x.js"]
)
def test_an_unknown_path_is_404_in_json(shared: Server, path: str) -> None:
    answer = send(shared, "GET", path)
    assert_refused(answer, 404, "NOT_FOUND")


def test_healthz_and_readyz_answer_while_all_is_well(shared: Server) -> None:
    assert send(shared, "GET", "/healthz").json() == {"status": "ok"}
    assert send(shared, "GET", "/readyz").json() == {"status": "ok", "failing": []}
    assert send(shared, "POST", "/healthz").status_code == 405


def test_readyz_is_503_while_the_media_folder_is_gone(shared: Server) -> None:
    root = shared.settings.media_root
    away = root.rename(root.with_name("away"))
    answer = send(shared, "GET", "/readyz")
    away.rename(root)
    assert (answer.status_code, answer.json()["failing"]) == (503, ["media"])
    assert send(shared, "GET", "/healthz").status_code == 200
    assert send(shared, "GET", "/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/pictures", "/b%C3%BCcher"])
def test_pictures_are_served_where_media_url_says(tmp_path: Path, path: str) -> None:
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with running(settings_for(url, tmp_path / "media", media_url=path)) as server:
        address = server.save(content := photo())["url"]
        assert address.startswith(f"{path}/")
        answer = server.get(address)
        assert (answer.status_code, answer.content) == (200, content)
        refused = server.get(address.replace("signature=", "signature=x"))
        assert_refused(refused, 403, "FORBIDDEN")


# Other origins


def preflight(server: Server, origin: str, wanted: str = "authorization") -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": wanted}
    return send(server, "OPTIONS", headers={"origin": origin, **asked})


def test_pages_of_other_origins_may_not_call_by_default(shared: Server) -> None:
    for answer in (
        preflight(shared, "https://review.example"),
        send(shared, json={"query": QUERY}, headers={"origin": "https://review.example"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pages_of_the_named_origins_may_call_and_no_others(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    named = "https://review.example"
    with running(settings_for(url, tmp_path / "media", cors_origins=(named,))) as server:
        wanted = "authorization, content-type, access_token, graphql-require-preflight, x-request-id"
        wanted += ", traceparent, tracestate, apollographql-client-name, apollographql-client-version"
        asked = preflight(server, named, wanted)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, named)
        called = send(server, json={"query": QUERY}, headers={"origin": named})
        assert called.json() == ANSWER
        assert called.headers["access-control-allow-origin"] == named
        assert "access-control-allow-credentials" not in called.headers
        for other in ("https://evil.example", "null", f"{named}.evil.example", "http://review.example"):
            asked = preflight(server, other)
            assert_refused(asked, 400, "FORBIDDEN")
            assert "access-control-allow-origin" not in asked.headers
            refused = send(server, json={"query": QUERY}, headers={"origin": other})
            assert "access-control-allow-origin" not in refused.headers


def test_a_bug_is_told_in_json_behind_starlettes_layers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphiql, "BUILT", None)
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with running(settings_for(url, tmp_path / "media", graphiql=True)) as server:
        assert_refused(send(server, "GET", "/graphiql/assets/x.js"), 500, "INTERNAL_SERVER_ERROR")
