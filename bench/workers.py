"""How soon a server answers after its start, how much memory it takes, and how much two workers do."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench import machine, reads, servers
from bench.data import Filled
from bench.reads import Workload
from tests.processes import PROJECT, environment, free_port, settings_of, users_listening
from tests.servers import TOKEN


def report(filled: Filled, rounds: int, seconds: int) -> Iterator[str]:
    yield machine.about()
    starts = [start(filled) for _ in range(rounds)]
    yield f"from the start to the first answer: {statistics.median(starts):.2f} s (best {min(starts):.2f})"
    works = reads.workloads(filled.images)
    for work in works[1:3]:
        yield from compare(filled, work, rounds, seconds)


def start(filled: Filled) -> float:
    """Seconds from starting the command to the answer of the first query."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, users_listening() as users:
        given = environment(settings_of(filled.url, Path(folder, "media"), users) | {"PORT": str(port)})
        given.pop("PYTHONDONTWRITEBYTECODE")
        begun = time.monotonic()
        popen = subprocess.Popen(
            [sys.executable, "-m", "graphql_server", "serve"], cwd=PROJECT, env=given, stdout=subprocess.DEVNULL
        )
        with popen, httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
            answered = first_answer(client, f"http://127.0.0.1:{port}/graphql") - begun
            popen.terminate()
    return answered


def first_answer(client: httpx.Client, url: str) -> float:
    while True:
        try:
            answer = client.post(url, json={"query": "{ datasets { nodes { title } } }"})
        except httpx.TransportError:
            time.sleep(0.01)
        else:
            assert "errors" not in answer.json()
            return time.monotonic()


def compare(filled: Filled, work: Workload, rounds: int, seconds: int) -> Iterator[str]:
    """One worker and two, on all cores; the load and the database take their share of the same cores."""
    for workers in (1, 2):
        with (
            tempfile.TemporaryDirectory() as folder,
            servers.ours(filled.url, Path(folder), *range(machine.CORES), WORKERS=str(workers)) as contender,
        ):
            shots = [reads.shoot(contender, work, filled.pid, seconds) for _ in range(rounds + 1)][1:]
            memory = machine.memory_mib(contender.pid)
        rate, cpu, busy = (statistics.median(getattr(shot, name) for shot in shots) for name in ("rate", "cpu", "busy"))
        yield (
            f"{work.name}, {workers} worker{'s'[: workers - 1]}: {rate:,.0f} requests/s, {cpu:.2f} ms of CPU each, "
            f"{busy:.2f} cores busy, {memory:.0f} MiB the largest process"
        )
