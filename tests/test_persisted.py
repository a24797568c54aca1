"""Automatic persisted queries, as Apollo's clients send them."""

from collections.abc import Generator
from hashlib import sha256
from typing import Any

import orjson
import pytest

from graphql_server.http.persisted import REMEMBERED_CHARACTERS
from graphql_server.schema.limits import LONGEST_DOCUMENT
from tests.front_door import ANSWER, assert_refused, code, send
from tests.servers import Server
from tests.shared import sharing


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


def hashed(query: str) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256(query.encode()).hexdigest()}}}


def test_a_query_sent_once_with_its_hash_is_run_by_its_hash(shared: Server) -> None:
    query = "query Once { untrained { title } }"
    missing = send(shared, json=hashed(query))
    assert_refused(missing, 200, "PERSISTED_QUERY_NOT_FOUND")
    assert missing.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    assert send(shared, json={"query": query, **hashed(query)}).json() == ANSWER
    assert send(shared, json=hashed(query)).json() == ANSWER
    by_get = {"extensions": orjson.dumps(hashed(query)["extensions"]).decode()}
    assert send(shared, "GET", params=by_get).json() == ANSWER


def test_a_persisted_mutation_is_not_run_by_get(shared: Server) -> None:
    mutation = 'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }'
    assert send(shared, json={"query": mutation, **hashed(mutation)}).json()["data"]["createDataset"]["dataset"]
    by_get = {"extensions": orjson.dumps(hashed(mutation)["extensions"]).decode()}
    assert_refused(send(shared, "GET", params=by_get), 405, "METHOD_NOT_ALLOWED")


def test_the_hash_of_something_else_is_refused(shared: Server) -> None:
    query = "query Mine { untrained { title } }"
    assert_refused(send(shared, json={"query": query + " ", **hashed(query)}), 400, "PERSISTED_QUERY_HASH_MISMATCH")
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
