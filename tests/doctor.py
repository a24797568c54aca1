"""Runs of `graphql-server doctor`, and what there is for it to find."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import mysql

HOLDS = {
    "exactly one dataset is untrained": 0,
    "every image has its dataset": 0,
    "every image has its file": 0,
    "every file is as it was saved": 0,
    "every file has its image": 0,
    "nothing staged is left behind": 0,
    "every tally counts its images": 0,
}
MEASURED = "content_type, width, height, byte_size, sha256"


@dataclass
class Outcome:
    """A run of the doctor: its exit status and what it printed."""

    status: Any
    text: str
    errors: str

    @property
    def wrong(self) -> dict[str, int]:
        return {name: int(wrong.replace(",", "")) for name, _, wrong in self._cells()}

    @property
    def examined(self) -> list[int]:
        return [int(examined.replace(",", "")) for _, examined, _ in self._cells()]

    def _cells(self) -> list[tuple[str, str, str]]:
        # A server of this process may log a line in between.
        table = (re.split(r" {2,}", line) for line in self.text.splitlines())
        return [(cells[0], cells[1], cells[2]) for cells in table if cells[0] in HOLDS and len(cells) > 3]


Doctor = Callable[..., Outcome]


def run_apart(
    url: str,
    root: Path,
    *arguments: str,
    stderr: int = subprocess.PIPE,
    program: Sequence[str] = (sys.executable, "-m", "graphql_server"),
) -> Outcome:
    """Run the command in a process of its own."""
    ended = subprocess.run(
        [*program, "doctor", *arguments],
        env={**os.environ, "DATABASE_URL": url, "MEDIA_ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=60,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr or "")


def sql(url: str, *texts: str) -> list[tuple[Any, ...]]:
    """Run statements beside the server, with foreign keys switched off; gives the last one's rows."""
    if url.startswith("mysql"):
        return mysql.statements(url, "SET SESSION foreign_key_checks = 0", *texts)
    with closing(sqlite3.connect(url.removeprefix("sqlite://"), timeout=30, isolation_level=None)) as connection:
        return [connection.execute(text).fetchall() for text in texts][-1]


def age(path: Path, seconds: float = 7200) -> Path:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def lay(path: Path, content: bytes = b"x", seconds: float = 7200) -> Path:
    """A file that was written some time ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return age(path, seconds)


def place(media_root: Path, image: dict[str, Any]) -> Path:
    return media_root / str(image["dataset"]["pk"]) / image["uuidFileName"]
