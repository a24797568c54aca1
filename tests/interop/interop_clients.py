"""Each client's example, run on a real server: it asks, pages to the end, saves a photo and reads errors' codes."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.interop.clients import assert_at_home, served, told
from tests.interop.programs import CLIENTS, EXAMPLES, node, run


@pytest.mark.parametrize("program", ["apollo-client.ts", "urql.ts", "fetch.ts"])
def test_a_client_asks_pages_saves_and_reads_codes(
    program: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with served(request, tmp_path) as server:
        assert_at_home(node(f"clients/{program}", settings=told(server, tmp_path)))


@pytest.mark.parametrize("program", ["gql_sync.py", "gql_async.py"])
def test_gql_asks_pages_saves_and_reads_codes(program: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        seen = run([CLIENTS / "python", EXAMPLES / "clients" / program], told(server, tmp_path))
    assert_at_home(orjson.loads(seen))


def test_curl_asks_pages_saves_and_reads_codes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        lines = run([EXAMPLES / "clients" / "curl.sh"], told(server, tmp_path)).splitlines()
    answers: list[dict[str, Any]] = [orjson.loads(line) for line in lines]
    title, *pages, saved, missing, stranger = answers
    assert_at_home(
        {
            "title": title["data"]["untrained"]["title"],
            "pages": len(pages),
            "names": [node["originalFileName"] for page in pages for node in page["data"]["images"]["nodes"]],
            "saved": saved["data"]["saveFix"]["image"],
            "missing": missing["errors"][0]["extensions"]["code"],
            "stranger": stranger["errors"][0]["extensions"]["code"],
        }
    )
