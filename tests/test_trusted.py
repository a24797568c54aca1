"""Trusted documents: what PERSISTED_OPERATIONS lists is run, and nothing else."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from graphql_server.app import check_operations
from graphql_server.errors import SettingsError
from graphql_server.http.manifests import read
from tests.front_door import ANSWER, PREFLIGHT, QUERY, RESPONSE, assert_refused, code, send, send_form
from tests.live import IMAGES, MULTIPART, SSE, START, connected, events, parts
from tests.persisted import apollo, by_get, codegen, hashed, relay, sha256_of
from tests.photos import photo
from tests.processes import server_of, settings_of, started, users_listening
from tests.servers import KEY, SAVE_FIX, Server, settings_for
from tests.shared import sharing

BY_CODEGEN = "query ByCodegen { untrained { title } }"
BY_RELAY = "query ByRelay { untrained { title } }\n"
BY_APOLLO = "query ByApollo { untrained { title } }"
SEAL = 'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }'
UNLISTED = "query Unlisted { untrained { title } }"
GATEWAY = {"router-authorization": KEY}


def write(path: Path, manifest: object) -> Path:
    path.write_bytes(manifest if isinstance(manifest, bytes) else orjson.dumps(manifest))
    return path


@pytest.fixture(scope="module", params=["sqlite"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("operations")
    write(folder / "web.json", codegen(BY_CODEGEN, SAVE_FIX, IMAGES, SEAL))
    write(folder / "app.json", relay(BY_RELAY))
    write(folder / "phone.json", apollo(BY_APOLLO))
    with sharing(request, tmp_path_factory, persisted_operations=folder, gateway_secret=("another" * 8, KEY)) as server:
        yield server


@pytest.mark.parametrize(
    ("query", "identifier"),
    [
        (BY_CODEGEN, f"sha256:{sha256_of(BY_CODEGEN)}"),
        (BY_CODEGEN, sha256_of(BY_CODEGEN)),
        (BY_RELAY, next(iter(relay(BY_RELAY)))),
        (BY_RELAY, f"sha256:{sha256_of(BY_RELAY)}"),
        (BY_APOLLO, sha256_of(BY_APOLLO)),
    ],
)
def test_what_a_compiler_has_listed_is_run_by_any_of_its_names(shared: Server, query: str, identifier: str) -> None:
    by_apollos_name = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": identifier}}}
    for request in (by_apollos_name, *({name: identifier} for name in ("documentId", "id", "doc_id"))):
        assert send(shared, json=request).json() == ANSWER
        assert send(shared, "GET", params=by_get(request)).json() == ANSWER


def test_what_is_listed_is_run_when_it_is_sent_in_full_too(shared: Server) -> None:
    for query in (BY_CODEGEN, BY_RELAY, BY_APOLLO):
        assert send(shared, json={"query": query}).json() == ANSWER
        assert send(shared, json={"query": query, **hashed(query)}).json() == ANSWER


@pytest.mark.parametrize("query", [UNLISTED, BY_CODEGEN + " ", QUERY, "{ __typename }", "{", "{ _service { sdl } }"])
def test_what_is_not_listed_to_the_letter_is_refused(shared: Server, query: str) -> None:
    assert_refused(send(shared, json={"query": query}), 200, "PERSISTED_QUERY_ONLY")
    assert_refused(send(shared, json={"query": query}, headers={"accept": RESPONSE}), 400, "PERSISTED_QUERY_ONLY")
    assert_refused(send(shared, "GET", params={"query": query}), 200, "PERSISTED_QUERY_ONLY")


def test_nothing_can_be_listed_by_a_client(shared: Server) -> None:
    missing = send(shared, json=hashed(UNLISTED))
    assert_refused(missing, 200, "PERSISTED_QUERY_NOT_FOUND")
    assert missing.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    refused = send(shared, json={"query": UNLISTED, **hashed(UNLISTED)})
    assert_refused(refused, 200, "PERSISTED_QUERY_NOT_SUPPORTED")
    assert refused.json()["errors"][0]["message"] == "PersistedQueryNotSupported"
    assert_refused(send(shared, json=hashed(UNLISTED), headers={"accept": RESPONSE}), 400, "PERSISTED_QUERY_NOT_FOUND")


def test_a_stranger_learns_nothing_of_what_is_listed(shared: Server) -> None:
    for request in (hashed(BY_CODEGEN), hashed(UNLISTED), {"query": BY_CODEGEN}, {"query": UNLISTED}):
        for more in ({}, GATEWAY):
            answer = send(shared, json=request, headers={"authorization": "Bearer nobody", **more})
            assert code(answer) == "UNAUTHENTICATED"


def test_forms_save_photos_by_what_is_listed_only(shared: Server) -> None:
    fix = {"modelDegree": 0, "confidence": 1, "userFixDegree": 0, "file": None, "onDuplicate": "ALLOW"}
    variables, places = {"variables": {"input": fix}}, {"0": ["variables.input.file"]}
    saved = send_form(shared, {"documentId": f"sha256:{sha256_of(SAVE_FIX)}", **variables}, places).json()
    assert saved["data"]["saveFix"]["image"]["byteSize"] == len(photo())
    refused = send_form(shared, {"query": SAVE_FIX + " ", **variables}, places)
    assert_refused(refused, 200, "PERSISTED_QUERY_ONLY")
    by_gateway = send_form(shared, {"query": SAVE_FIX + " ", **variables}, places, None, **PREFLIGHT, **GATEWAY)
    assert by_gateway.json()["data"]["saveFix"]["image"]["byteSize"] == len(photo())


@pytest.mark.parametrize(("accept", "read"), [(SSE, events), (MULTIPART, parts)])
def test_streams_follow_what_is_listed_only(shared: Server, accept: str, read: Any) -> None:
    shared.save(photo(seed=5))
    for query, seen in ((hashed(IMAGES), "imageSaved"), ({"query": IMAGES + " "}, "PERSISTED_QUERY_ONLY")):
        with httpx.stream(
            "POST",
            f"{shared.url}/graphql",
            json={**query, "variables": {"after": START}},
            headers={**shared.headers, "accept": accept},
            trust_env=False,
        ) as response:
            text = response.read().decode() if seen != "imageSaved" else str(next(read(response)))
        assert seen in text


def test_websockets_run_what_is_listed_only(shared: Server) -> None:
    shared.save(photo(seed=6))
    with connected(shared) as client:
        client.begin()
        for query, seen in (
            ({"query": UNLISTED}, "PERSISTED_QUERY_ONLY"),
            (hashed(UNLISTED), "PERSISTED_QUERY_NOT_FOUND"),
        ):
            client.send(type="subscribe", id="1", payload=query)
            assert client.error() == seen
        client.send(type="subscribe", id="1", payload={**hashed(IMAGES), "variables": {"after": START}})
        assert client.event()["image"]["pk"]
    with connected(shared, headers={**shared.headers, **GATEWAY}) as client:
        client.begin()
        client.subscribe(UNLISTED)
        assert client.event() == {"title": "untrained"}


def test_a_listed_mutation_is_not_run_by_get(shared: Server) -> None:
    assert_refused(send(shared, "GET", params=by_get(hashed(SEAL))), 405, "METHOD_NOT_ALLOWED")


def test_a_gateway_runs_what_it_makes_up_with_its_secret(shared: Server) -> None:
    entities = "query($keys: [_Any!]!) { _entities(representations: $keys) { ... on Dataset { title } } }"
    keys = {"keys": [{"__typename": "Dataset", "pk": 1}]}
    request = {"query": entities, "variables": keys}
    assert send(shared, json=request, headers=GATEWAY).json() == {"data": {"_entities": [{"title": "untrained"}]}}
    assert "type Image" in send(shared, json={"query": "{ _service { sdl } }"}, headers=GATEWAY).text
    for wrong in ("", KEY[:-1], KEY + " x", "another"):
        refused = send(shared, json=request, headers={"router-authorization": wrong})
        assert_refused(refused, 200, "PERSISTED_QUERY_ONLY")


def test_a_gateway_persists_queries_automatically_and_for_itself_alone(shared: Server) -> None:
    assert send(shared, json={"query": UNLISTED, **hashed(UNLISTED)}, headers=GATEWAY).json() == ANSWER
    assert send(shared, json=hashed(UNLISTED), headers=GATEWAY).json() == ANSWER
    assert code(send(shared, json=hashed(UNLISTED))) == "PERSISTED_QUERY_NOT_FOUND"
    assert send(shared, json=hashed(BY_CODEGEN), headers=GATEWAY).json() == ANSWER


# What is wrong with a file is told before anything listens

DEEP = "query Deep { datasets { nodes { " + "images { nodes { dataset { " * 8 + "pk" + " } } }" * 8 + " } } }"
DEAR = (
    "query Dear { datasets(first: 1000) { nodes { images(first: 1000) { nodes { dataset { images(first: 1000) { nodes"
    " { pk } } } } } } } }"
)
FAULTY: dict[str, tuple[object, str]] = {
    "no JSON": (b"{", "a.json"),
    "a list": ([QUERY], "a.json"),
    "nothing": ({}, "no operation"),
    "no text": ({"a": 5}, "a.json"),
    "no identifier": ({"": QUERY}, "a.json"),
    "a manifest of another version": ({**apollo(QUERY), "version": 2}, "version 1"),
    "a manifest without operations": ({**apollo(QUERY), "operations": {}}, "'operations'"),
    "an operation without a body": ({**apollo(), "operations": [{"id": "a"}]}, "'body'"),
    "an operation with an odd body": ({**apollo(), "operations": [{"id": "a", "body": 5}]}, "a.json"),
    "no GraphQL": ({"hash": "query Broken {"}, "Broken (hash in"),
    "a field that is none": ({"hash": "query Unknown { nothing }"}, "Unknown (hash in"),
    "fields too deep": ({"hash": DEEP}, "QUERY_DEPTH"),
    "too many objects": ({"hash": DEAR}, "QUERY_COST"),
    "introspection, which is off": ({"hash": "query Intro { __schema { types { name } } }"}, "Intro (hash in"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_is_one_line_that_names_the_file_and_the_operation(tmp_path: Path, fault: str) -> None:
    manifest, named = FAULTY[fault]
    file = write(tmp_path / "a.json", manifest)
    settings = settings_for("sqlite://none.db", tmp_path / "media", persisted_operations=file, introspection=False)
    with pytest.raises(SettingsError) as raised:
        check_operations(settings)
    message = str(raised.value)
    assert message.startswith("PERSISTED_OPERATIONS: ")
    assert named in message
    assert str(file) in message
    assert "\n" not in message


def test_a_file_that_fails_while_it_is_read_is_named(tmp_path: Path) -> None:
    file = Path("/proc/self/mem")  # whose first bytes nobody may read
    with pytest.raises(SettingsError, match=f"{file} cannot be read"):
        check_operations(settings_for("sqlite://none.db", tmp_path / "media", persisted_operations=file))


def test_of_many_operations_each_is_checked_by_one_of_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphql_server.http.manifests.WORTH_A_PROCESS", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    listed = {str(number): f"query Number{number} {{ untrained {{ title }} }}" for number in range(4)}
    file = write(tmp_path / "a.json", {**listed, "3": "query Wrong { nothing }"})
    with pytest.raises(SettingsError, match=r"Wrong \(3 in .*'nothing'"):
        check_operations(settings_for("sqlite://none.db", tmp_path / "media", persisted_operations=file))


def test_an_operation_that_is_cheap_with_some_variables_may_be_listed(tmp_path: Path) -> None:
    query = DEAR.replace("Dear", "Dear($first: Int)").replace("1000", "$first")
    file = write(tmp_path / "a.json", codegen(query))
    check_operations(settings_for("sqlite://none.db", tmp_path / "media", persisted_operations=file))


def test_one_identifier_stands_for_one_document(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"same": QUERY})
    write(tmp_path / "b.json", {"same": QUERY})
    assert [listed.identifier for listed in read(tmp_path)] == ["same"]
    write(tmp_path / "c.json", {"sha256:same": UNLISTED})
    with pytest.raises(SettingsError, match=r"same in .*a\.json.* another text in .*c\.json"):
        read(tmp_path)


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_every_worker_runs_what_is_listed_from_the_start(database_url: str, media_root: Path, tmp_path: Path) -> None:
    listed = {"PERSISTED_OPERATIONS": str(write(tmp_path / "operations.json", codegen(BY_CODEGEN)))}
    with users_listening() as users:
        settings = {**settings_of(database_url, media_root, users), **listed}
        with started(tmp_path, "serve", WORKERS="2", **settings) as process:
            server = server_of(process, settings)
            for _ in range(20):
                assert send(server, json=hashed(BY_CODEGEN)).json() == ANSWER
                assert code(send(server, json={"query": UNLISTED})) == "PERSISTED_QUERY_ONLY"
