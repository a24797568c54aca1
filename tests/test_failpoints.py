"""A server is killed at the steps of each mutation; `make chaos` does so at every step on both engines."""

import sys
from pathlib import Path

import pytest

from tests.chaos.sweep import sweep

# So many steps there are at least; a sweep over fewer has lost sight of the disk or of the database.
LEAST = {
    ("sqlite", "save"): 36,
    ("sqlite", "group"): 60,
    ("sqlite", "seal"): 10,
    ("sqlite", "remove"): 16,
    ("mysql", "save"): 46,
    ("mysql", "group"): 76,
    ("mysql", "seal"): 20,
    ("mysql", "remove"): 26,
}
DISK = {
    "save": ("mkdir", "open", "write", "fsync", "link", "unlink"),
    "group": ("open", "write", "fsync", "link", "unlink"),
    "seal": (),
    "remove": ("unlink", "fsync"),
}
STATEMENTS = {
    "save": ("BEGIN", "SELECT", "INSERT", "COMMIT"),
    "group": ("BEGIN", "SELECT", "INSERT", "COMMIT"),
    "seal": ("BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"),
    "remove": ("BEGIN", "SELECT", "DELETE", "COMMIT"),
}


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


def check(steps: list[str], engine: str, operation: str) -> None:
    """The steps must be those that the request is known to need."""
    sys.stdout.write(f"{engine} {operation}: {len(steps)} steps\n")
    assert len(steps) >= LEAST[engine, operation], steps
    for wanted in DISK[operation]:
        assert any(step.startswith(f"before {wanted} ") for step in steps), wanted
    inserts = [step for step in steps if step.startswith("before ") and "INSERT INTO image_info" in step]
    assert len(inserts) == (operation in ("save", "group")), "not all at once"
    for wanted in STATEMENTS[operation]:
        assert any(wanted in step.upper() for step in steps), wanted
