"""Clients that name their documents by identifiers, with the files that their compilers have written of them."""

from pathlib import Path

import pytest

from tests.interop.clients import NAMES, served, told
from tests.interop.programs import EXAMPLES, node
from tests.live import START

LISTED = EXAMPLES / "generated"
POSTED = ["POST hash 400", "POST hash and document 200", "POST hash 200"]


@pytest.mark.parametrize(
    ("program", "got"),
    [
        ("apollo-automatic.ts", ["GET hash 400", "POST hash and document 200", "GET hash 200"]),
        ("urql-automatic.ts", ["GET hash 400", "GET hash and document 200", "GET hash 200"]),
    ],
)
def test_a_hash_that_is_not_known_is_sent_again_with_its_document(
    program: str, got: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path) as server:
        seen = node(f"clients/persisted/{program}", settings=told(server, tmp_path))
    assert seen == {"titles": ["untrained"] * 4, "sent": [*POSTED, *got]}


def test_apollo_client_runs_what_its_manifest_lists_and_nothing_else(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path, persisted_operations=LISTED) as server:
        seen = node("clients/persisted/apollo-listed.ts", settings=told(server, tmp_path))
    assert seen.pop("sent") == [
        *("POST hash 200", "POST hash 200", "POST hash and document 400"),
        *("POST hash 400", "POST hash and document 400"),
    ]
    assert (seen.pop("title"), seen.pop("saved")) == ("untrained", "lunch.jpg")
    assert seen == {"inFull": "PERSISTED_QUERY_ONLY", "withHash": "PERSISTED_QUERY_NOT_SUPPORTED"}


def test_urql_and_graphql_ws_run_what_graphql_codegen_lists_and_nothing_else(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path, persisted_operations=LISTED) as server:
        seen = node("clients/persisted/urql-listed.ts", settings=told(server, tmp_path))
        followed = node("clients/persisted/graphql-ws.ts", START, settings=told(server, tmp_path))
    assert seen.pop("sent") == [*["GET hash 200"] * 2, *["POST hash 200"] * 2, "POST document 400"]
    assert (seen.pop("title"), seen.pop("names"), seen.pop("saved")) == ("untrained", NAMES[:3], "lunch.jpg")
    assert seen == {"missing": "NOT_FOUND", "stray": "PERSISTED_QUERY_ONLY"}
    assert followed == {"name": "lunch.jpg"}
