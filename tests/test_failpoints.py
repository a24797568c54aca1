"""A server is killed at the steps of each mutation; `make chaos` does so at every step on both engines."""

import sys
from pathlib import Path

import pytest

from tests.chaos.sweep import sweep

# So many steps there are at least; a sweep over fewer has lost sight of the disk or of the database.
LEAST = {
    ("sqlite", "save"): 36,
    ("sqlite", "seal"): 10,
    ("sqlite", "remove"): 16,
    ("mysql", "save"): 46,
    ("mysql", "seal"): 20,
    ("mysql", "remove"): 26,
}
DISK = {
    "save": ("mkdir", "open", "write", "fsync", "link", "unlink"),
    "seal": (),
    "remove": ("unlink", "fsync"),
}
STATEMENTS = {
    "save": ("BEGIN", "SELECT", "INSERT", "COMMIT"),
    "seal": ("BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"),
    "remove": ("BEGIN", "SELECT", "DELETE", "COMMIT"),
}


@pytest.mark.parametrize("operation", ["save", "seal", "remove"])
def test_a_server_that_is_killed_at_any_step_leaves_a_request_done_or_not_begun(
    engine: str, operation: str, database_url: str, tmp_path: Path
) -> None:
    check(sweep(tmp_path, database_url, operation, every=1 if engine == "sqlite" else 3), engine, operation)


def check(steps: list[str], engine: str, operation: str) -> None:
    """The steps must be those that the request is known to need."""
    sys.stdout.write(f"{engine} {operation}: {len(steps)} steps\n")
    assert len(steps) >= LEAST[engine, operation], steps
    for wanted in DISK[operation]:
        assert any(step.startswith(f"before {wanted} ") for step in steps), wanted
    for wanted in STATEMENTS[operation]:
        assert any(wanted in step.upper() for step in steps), wanted
