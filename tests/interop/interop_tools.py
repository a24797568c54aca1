"""Tools that judge the schema as it is written down."""

from pathlib import Path

import pytest

from tests.interop.programs import EXAMPLES, NODE, SDL, fails, run
from tests.processes import PROJECT

ESLINT = (NODE, EXAMPLES / "node_modules" / "eslint" / "bin" / "eslint.js", "-c", EXAMPLES / "eslint.config.mjs")


def test_the_schema_keeps_every_rule_of_graphql_eslint_for_schemas_and_for_relay() -> None:
    assert run([*ESLINT, "--max-warnings", "0", "schema.graphql"], folder=PROJECT) == ""


@pytest.mark.parametrize(
    ("was", "becomes", "rule"),
    [
        ('"""The dataset that the image is in."""', "# The dataset", "no-hashtag-description"),
        ("  REJECT\n", "  reject\n", "naming-convention"),
        ("  id: ID!\n", "  key: ID!\n", "strict-id-in-types"),
        ("  hasNextPage: Boolean!", "  hasNextPage: Boolean", "relay-page-info"),
        ("    after: String\n", "    behind: String\n", "relay-arguments"),
        ("  cursor: String!\n", "  place: String!\n", "relay-edge-types"),
    ],
)
def test_the_rules_are_not_blind(tmp_path: Path, was: str, becomes: str, rule: str) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    (tmp_path / "schema.graphql").write_text(SDL.read_text().replace(was, becomes))
    assert f"@graphql-eslint/{rule}" in fails([*ESLINT, "schema.graphql"], folder=tmp_path)
