"""A server is killed at every step of each mutation, on both engines."""

from pathlib import Path

import pytest

from tests.chaos.sweep import check, sweep


@pytest.mark.parametrize("operation", ["save", "group", "seal", "remove"])
def test_a_server_that_is_killed_at_every_step_leaves_a_request_done_or_not_begun(
    engine: str, operation: str, database_url: str, tmp_path: Path
) -> None:
    check(sweep(tmp_path, database_url, operation, every=1), engine, operation)
