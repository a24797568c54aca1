"""Each client's example, run on a real server: it asks, pages to the end, saves a photo and reads errors' codes."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.interop.clients import NAMES, assert_at_home, served, told
from tests.interop.programs import CLIENTS, EXAMPLES, NODE, node, run


@pytest.mark.parametrize("program", ["apollo-client.ts", "urql.ts", "fetch.ts"])
def test_a_client_asks_pages_saves_and_reads_codes(
    program: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path) as server:
        assert_at_home(node(f"clients/{program}", settings=told(server, tmp_path)))


def test_clients_that_ask_for_no_parts_get_what_is_put_off_at_once(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path) as server:
        seen = node("tools/at-once.mjs", settings=told(server, tmp_path))
        later = node("--import", "./tools/relay.mjs", "clients/relay/later.tsx", settings=told(server, tmp_path))
    assert seen == {"apollo": ["untrained", *NAMES], "urql": ["untrained", *NAMES]}
    assert later == {"title": "untrained", "names": NAMES}


@pytest.mark.parametrize("program", ["gql_sync.py", "gql_async.py"])
def test_gql_asks_pages_saves_and_reads_codes(program: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        seen = run([CLIENTS / "python", EXAMPLES / "clients" / program], told(server, tmp_path))
    assert_at_home(orjson.loads(seen))


def test_relay_pages_fetches_again_and_adds_to_its_list(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        seen = node("--import", "./tools/relay.mjs", "clients/relay/app.tsx", settings=told(server, tmp_path))
    assert seen.pop("sent") == [
        *("appQuery", "appImagesPaginationQuery", "appImagesPaginationQuery"),
        *("appImageRefetchQuery", "appSaveMutation", "appSaveMutation", "appRemoveMutation"),
    ]
    assert (seen.pop("again"), seen.pop("listed")) == (NAMES[0], len(NAMES) + 1)
    assert_at_home(seen)


def test_the_whole_of_relay_runs_by_the_ids_that_its_compiler_has_listed(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path, persisted_operations=EXAMPLES / "generated" / "relay.json") as server:
        settings = {**told(server, tmp_path), "ARTIFACTS": "./generated/relay-listed"}
        seen = node("--import", "./tools/relay.mjs", "clients/relay/app.tsx", settings=settings)
        assert server.codes("{ untrained { title } }") == ["PERSISTED_QUERY_ONLY"]
    assert len(seen.pop("sent")) == 7
    assert (seen.pop("again"), seen.pop("listed")) == (NAMES[0], len(NAMES) + 1)
    assert_at_home(seen)


def test_the_code_that_generators_write_is_strictly_typed_and_works(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    generated = sorted((EXAMPLES / "generated" / "dataset_client").glob("*.py"))
    # The one module that ariadne-codegen copies and does not write is not strict.
    own = [module for module in generated if module.name != "async_base_client.py"]
    assert len(own) > 8
    strict = ("--strict", "--follow-imports", "silent", "--cache-dir", str(tmp_path / "mypy"))
    python_path = {"PYTHONPATH": "generated", "MYPYPATH": "generated"}
    run([CLIENTS / "mypy", *strict, EXAMPLES / "clients" / "typed.py", *own], python_path)
    run([NODE, "node_modules/typescript/bin/tsc", "--project", "."])
    with served(request, tmp_path) as server:
        assert_at_home(node("clients/typed.ts", settings=told(server, tmp_path)))
    with served(request, tmp_path / "python") as server:
        python = [CLIENTS / "python", EXAMPLES / "clients" / "typed.py"]
        assert_at_home(orjson.loads(run(python, {**told(server, tmp_path / "python"), **python_path})))


def test_the_programs_of_gql_are_strictly_typed(tmp_path: Path) -> None:
    for program in ("gql_sync.py", "gql_async.py"):
        run([CLIENTS / "mypy", "--strict", "--cache-dir", str(tmp_path), EXAMPLES / "clients" / program])


def test_curl_asks_pages_saves_and_reads_codes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        lines = run([EXAMPLES / "clients" / "curl.sh"], told(server, tmp_path)).splitlines()
    answers: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
    title, *pages, saved, wrong, missing, stranger = answers
    assert_at_home(
        {
            "title": title["data"]["untrained"]["title"],
            "pages": len(pages),
            "names": [node["originalFileName"] for page in pages for node in page["data"]["images"]["nodes"]],
            "saved": saved["data"]["saveFix"]["image"],
            "wrong": wrong["errors"][0]["extensions"]["code"],
            "missing": missing["errors"][0]["extensions"]["code"],
            "stranger": stranger["errors"][0]["extensions"]["code"],
        }
    )
