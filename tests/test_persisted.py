"""Automatic persisted queries, as Apollo's clients send them."""

from collections.abc import Generator

import httpx
import pytest

from graphql_server.http.persisted import REMEMBERED_CHARACTERS
from graphql_server.schema.limits import LONGEST_DOCUMENT
from tests.front_door import ANSWER, assert_refused, code, send, send_form
from tests.live import IMAGES, MULTIPART, SSE, START, connected, events, parts
from tests.persisted import both_ways, by_get, hashed, sha256_of
from tests.photos import photo
from tests.servers import SAVE_FIX, Server
from tests.shared import sharing


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


def test_a_query_sent_once_with_its_hash_is_run_by_its_hash(shared: Server) -> None:
    query = "query Once { untrained { title } }"
    missing = send(shared, json=hashed(query))
    assert_refused(missing, 200, "PERSISTED_QUERY_NOT_FOUND")
    assert missing.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert send(shared, json={"query": query, **hashed(query)}).json() == ANSWER
    assert send(shared, json=hashed(query)).json() == ANSWER
    assert send(shared, "GET", params=by_get(hashed(query))).json() == ANSWER


@pytest.mark.parametrize("name", ["documentId", "id", "doc_id"])
def test_the_hash_may_stand_where_the_draft_and_relays_clients_have_it(shared: Server, name: str) -> None:
    query = f"query Named_{name} {{ untrained {{ title }} }}"
    assert send(shared, json={"query": query, **hashed(query)}).json() == ANSWER
    for identifier in (sha256_of(query), f"sha256:{sha256_of(query)}"):
        assert send(shared, json={name: identifier}).json() == ANSWER
        assert send(shared, "GET", params={name: identifier}).json() == ANSWER
    assert code(send(shared, json={name: "another"})) == "PERSISTED_QUERY_NOT_FOUND"
    assert_refused(send(shared, json={name: 5}), 400, "BAD_REQUEST")
    # Whoever sends the document means that one.
    assert send(shared, json={name: "another", "query": query}).json() == ANSWER


def test_a_named_query_that_comes_again_is_answered_anew_and_to_nobody_else(shared: Server) -> None:
    query = "query Counted { untrained { images { totalCount } } }"
    send(shared, json={"query": query, **hashed(query)})
    counts = list[int]()
    for seed in (91, 92, 93):
        shared.save(photo(seed=seed))
        for request in both_ways(query):
            counts.append(send(shared, **request).json()["data"]["untrained"]["images"]["totalCount"])
            assert code(send(shared, **request, headers={"authorization": "Bearer nobody"})) == "UNAUTHENTICATED"
    assert counts == sorted(counts)
    assert sorted(set(counts)) == list(range(counts[0], counts[0] + 3))


def test_a_form_names_its_mutation_by_its_hash(shared: Server) -> None:
    fix = {"modelDegree": 0, "confidence": 1, "userFixDegree": 0, "file": None, "onDuplicate": "ALLOW"}
    variables, places = {"variables": {"input": fix}}, {"0": ["variables.input.file"]}
    missing = send_form(shared, {**hashed(SAVE_FIX), **variables}, places)
    assert_refused(missing, 200, "PERSISTED_QUERY_NOT_FOUND")
    for query in ({"query": SAVE_FIX}, {}):
        saved = send_form(shared, {**query, **hashed(SAVE_FIX), **variables}, places).json()
        assert saved["data"]["saveFix"]["image"]["byteSize"] == len(photo())


def test_subscriptions_are_named_by_their_hash(shared: Server) -> None:
    shared.save(photo(seed=5))
    variables = {"variables": {"after": START}}
    query = IMAGES + " # over HTTP"
    for document in ({"query": query}, {}):
        for accept, read in ((SSE, events), (MULTIPART, parts)):
            with httpx.stream(
                "POST",
                f"{shared.url}/graphql",
                json={**document, **hashed(query), **variables},
                headers={**shared.headers, "accept": accept},
                trust_env=False,
            ) as response:
                first = next(read(response))
            assert "imageSaved" in str(first)


def test_operations_over_a_websocket_are_named_by_their_hash(shared: Server) -> None:
    shared.save(photo(seed=6))
    query = IMAGES + " # over a WebSocket"
    request = {**hashed(query), "variables": {"after": START}}
    with connected(shared) as client:
        client.begin()
        client.send(type="subscribe", id="1", payload=request)
        assert client.error() == "PERSISTED_QUERY_NOT_FOUND"
    # graphql-ws sends an empty query where there is none.
    for document in ({"query": query}, {}, {"query": ""}):
        with connected(shared) as client:
            client.begin()
            client.send(type="subscribe", id="1", payload={**document, **request})
            assert client.event()["image"]["pk"]


def test_a_persisted_mutation_is_not_run_by_get(shared: Server) -> None:
    mutation = 'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }'
    assert send(shared, json={"query": mutation, **hashed(mutation)}).json()["data"]["createDataset"]["dataset"]
    assert_refused(send(shared, "GET", params=by_get(hashed(mutation))), 405, "METHOD_NOT_ALLOWED")


def test_the_hash_of_something_else_is_refused(shared: Server) -> None:
    query = "query Mine { untrained { title } }"
    wrong = {"query": query + " ", **hashed(query)}
    assert_refused(send(shared, json=wrong), 400, "PERSISTED_QUERY_HASH_MISMATCH")
    with connected(shared) as client:
        client.begin()
        client.send(type="subscribe", id="1", payload=wrong)
        assert client.error() == "PERSISTED_QUERY_HASH_MISMATCH"
    assert code(send(shared, json=hashed(query))) == "PERSISTED_QUERY_NOT_FOUND"


def test_what_a_stranger_sends_is_not_remembered(shared: Server) -> None:
    query = "query Stranger { untrained { title } }"
    stranger = {"authorization": "Bearer nobody"}
    assert code(send(shared, json={"query": query, **hashed(query)}, headers=stranger)) == "UNAUTHENTICATED"
    assert code(send(shared, json=hashed(query))) == "PERSISTED_QUERY_NOT_FOUND"


def test_what_is_no_good_document_is_not_remembered(shared: Server) -> None:
    query = "query Wrong { nothing }"
    assert code(send(shared, json={"query": query, **hashed(query)})) == "GRAPHQL_VALIDATION_FAILED"
    assert code(send(shared, json=hashed(query))) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("wrong", [1, {}, {"version": 2, "sha256Hash": "a"}, {"version": 1, "sha256Hash": 1}])
def test_a_persisted_query_of_another_shape_is_refused(shared: Server, wrong: object) -> None:
    assert_refused(send(shared, json={"extensions": {"persistedQuery": wrong}}), 400, "BAD_REQUEST")


def test_the_queries_used_least_are_forgotten_when_many_characters_are_kept(shared: Server) -> None:
    first = "query First { untrained { title } }"
    assert send(shared, json={"query": first, **hashed(first)}).json() == ANSWER
    size, padded = LONGEST_DOCUMENT - 100, ""
    for number in range(REMEMBERED_CHARACTERS // size + 2):
        padded = f"query Padded{number} {{ untrained {{ title }} }}{' ' * (size - 50)}"
        assert send(shared, json={"query": padded, **hashed(padded)}).json() == ANSWER
    assert code(send(shared, json=hashed(first))) == "PERSISTED_QUERY_NOT_FOUND"
    assert send(shared, json=hashed(padded)).json() == ANSWER
