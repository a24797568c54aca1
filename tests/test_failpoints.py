"""A server is killed at the steps of each mutation; `make chaos` does so at every step on both engines."""

from pathlib import Path

import pytest

from tests.chaos.sweep import check, sweep

EVERY = {"sqlite": 1, "mysql": 3}


@pytest.mark.parametrize("operation", ["save", "seal", "remove"])
def test_a_server_that_is_killed_at_any_step_leaves_a_request_done_or_not_begun(
    engine: str, operation: str, database_url: str, tmp_path: Path
) -> None:
    check(sweep(tmp_path, database_url, operation, every=EVERY[engine]), engine, operation)


def test_a_server_that_is_killed_while_it_saves_several_at_once_leaves_all_saved_or_none(
    engine: str, database_url: str, tmp_path: Path
) -> None:
    check(sweep(tmp_path, database_url, "group", every=16), engine, "group")
