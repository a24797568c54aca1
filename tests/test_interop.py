"""The short cut of `make interop`: one composer, one client, and the audits of the protocol."""

from pathlib import Path

import pytest

from tests.interop.clients import assert_at_home, served, told
from tests.interop.programs import SDL, node
from tests.servers import TOKEN


def test_the_schema_composes_with_subgraphs_that_refer_to_it() -> None:
    others = ("users=gateway/users.graphql", "models=gateway/models.graphql")
    composed = node("tools/compose.mjs", "apollo", f"datasets={SDL}", *others)
    assert (composed["errors"], composed["hints"]) == ([], [])
    assert "savedBy: User" in composed["supergraph"]


def test_apollo_client_asks_pages_saves_and_reads_codes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        assert_at_home(node("clients/apollo-client.ts", settings=told(server, tmp_path)))


def test_every_audit_of_graphql_over_http_passes(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with served(request, tmp_path) as server:
        audits = node("tools/audits.mjs", f"{server.url}/graphql", settings={"TOKEN": TOKEN})
    assert len(audits) > 60
    assert [audit for audit in audits if audit["status"] != "ok"] == []
