"""What it costs to save: a thousand senders at once, beside a plain script that does the same without a server."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import load, machine, servers
from bench.data import Filled
from bench.photos import photo
from bench.plain import DECODED, THREADS
from bench.servers import Contender
from tests.processes import PROJECT

SENDERS = 1000
CORES = range(machine.CORES)
COUNT = "SELECT COUNT(*) FROM image_info"
SAVE = """mutation Save($input: SaveFixInput!) {
  saveFix(input: $input) { created image { pk url uprightDegree } } }"""
INPUT = {"file": None, "modelDegree": 90, "confidence": 0.97, "userFixDegree": 0}


def upload(contender: Contender, content: bytes) -> bytes:
    """A whole request that saves a photo."""
    operations: dict[str, Any] = {"query": SAVE, "variables": {"input": INPUT}}
    body, headers = load.form(operations, "variables.input.file", content)
    return load.request(contender.url, body, {**headers, **contender.headers})


def report(filled: Filled, rounds: int, seconds: int) -> Iterator[str]:
    """Plain and served in turns, on all cores; then a thousand senders at once."""
    content = photo()
    yield f"{machine.about()}; photos of {len(content):,} bytes"
    yield "| | saves/s | CPU ms | database CPU ms | memory MiB | failed |"
    yield "|---|---:|---:|---:|---:|---:|"
    # What one has saved is kept for the others: ext4 looks long for an inode where thousands were freed lately.
    with tempfile.TemporaryDirectory(dir=PROJECT) as folder:
        for _ in range(rounds):
            yield plain(filled, Path(folder), content, seconds, "whole")
            yield plain(filled, Path(folder), content, seconds, "eighth")
            yield served(filled, Path(folder), content, seconds, 32)
        yield served(filled, Path(folder), content, 2 * seconds, SENDERS)


def plain(filled: Filled, parent: Path, content: bytes, seconds: int, scale: str) -> str:
    before = machine.cpu_seconds(filled.pid)
    folder = Path(tempfile.mkdtemp(dir=parent))
    file = folder / "photo"
    file.write_bytes(content)
    command = [sys.executable, "-m", "bench.plain", filled.url, str(folder), str(file), str(seconds), scale]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    saved, used = (float(figure) for figure in ended.stdout.split())
    machine.settle(filled.pid)
    database = machine.cpu_seconds(filled.pid) - before
    figures = f"{saved / seconds:.0f} | {1e3 * used / saved:.2f} | {1e3 * database / saved:.2f}"
    return f"| plain script, {THREADS} threads, decoded {DECODED[scale]} | {figures} | | 0 |"


def served(filled: Filled, parent: Path, content: bytes, seconds: int, senders: int) -> str:
    folder = Path(tempfile.mkdtemp(dir=parent))
    with servers.ours(filled.url, folder, *CORES) as contender:
        request = [upload(contender, content)]
        load.shoot(contender.url, request, contender.pid, filled.pid, seconds=2, first=number())
        shot = load.shoot(
            contender.url, request, contender.pid, filled.pid, seconds=seconds, connections=senders, first=number()
        )
        memory = machine.memory_mib(contender.pid)
    figures = f"{shot.rate:.0f} | {shot.cpu:.2f} | {shot.database_cpu:.2f} | {memory:.0f} | {shot.failed}"
    return f"| {contender.name}, {senders:,} senders | {figures} |"


def number() -> int:
    """A number for the next photo that no photo has had."""
    return time.time_ns() // 1_000_000 % 10**11
