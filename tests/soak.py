"""A server at full load: reads, saves, seals and removals, while its memory and its handles are watched.

Usage: scripts/with-engine mysql python -m tests.soak SECONDS, in the environment CLIENTS=16.
It prints figures every few seconds, and fails where they grow, a request fails, or the doctor finds anything.
"""

import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from graphql_server import migrations
from tests import mysql
from tests.chaos import clients
from tests.chaos.mysql import connections
from tests.chaos.service import await_ready
from tests.front_door import codes
from tests.holdings import assert_whole
from tests.photos import photo
from tests.processes import Process, command, server_of, settings_of, started, users_listening
from tests.servers import Server
from tests.together import CREATE, REMOVE, Ask, asking, saving

POOL = 16
SAMPLES = 60
# The first samples are left out: caches fill, pools open, the allocator finds its size.
WARMING_UP = 0.3
MOST_GROWTH = 0.10  # of the memory, from the median of the first samples to that of the last
READ = """query($first: Int!) { datasets(last: 5) { nodes { title images(first: $first) {
    totalCount nodes { pk url confidence } pageInfo { endCursor } } } } }"""


class Sample(NamedTuple):
    """What the kernel and MySQL count of the server."""

    seconds: float
    resident_bytes: int
    open_files: int
    threads: int
    connections: int
    requests: int


@dataclass
class Load:
    """Clients that ask without a pause; `saved` are the images that are still there to be removed."""

    server: Server
    until: float
    saved: deque[int]
    done: Counter[str]
    number: int = 0

    async def run(self, clients: int) -> None:
        async with httpx.AsyncClient(headers=self.server.headers, timeout=60, verify=False) as client:
            await asyncio.gather(*(self._client(client, random.Random(seed)) for seed in range(clients)))

    async def _client(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        while time.monotonic() < self.until:
            kind = chance.choices(["read", "save", "remove", "seal", "look"], [50, 25, 24, 1, 10])[0]
            await self._ask(client, kind, chance)

    async def _ask(self, client: httpx.AsyncClient, kind: str, chance: random.Random) -> None:
        self.number += 1
        if kind == "look" or (kind == "remove" and not self.saved):
            response = await client.get(f"{self.server.url}/readyz")
            assert response.status_code == 200, response.text
            self.done["look"] += 1
            return
        answer = await self._post(client, self._request(kind, chance))
        assert codes(answer) == [], answer
        if kind == "save":
            self.saved.append(answer["data"]["saveFix"]["image"]["pk"])
        self.done[kind] += 1

    def _request(self, kind: str, chance: random.Random) -> Ask:
        if kind == "save":
            return saving(photo("PNG", size=(chance.randrange(50, 800), 300), seed=self.number))
        if kind == "remove":
            return asking(REMOVE, pk=self.saved.popleft())
        return asking(CREATE, title=f"Dataset {self.number}") if kind == "seal" else asking(READ, first=20)

    async def _post(self, client: httpx.AsyncClient, ask: Ask) -> dict[str, Any]:
        return (await client.post(f"{self.server.url}/graphql", **ask)).json()


async def watch(process: Process, url: str, load: Load, seconds: float) -> list[Sample]:
    """Take samples until the load ends, and print them."""
    begun, samples = time.monotonic(), list[Sample]()
    while time.monotonic() < load.until:
        pid = process.popen.pid
        sample = Sample(
            time.monotonic() - begun,
            clients.resident_bytes(pid),
            clients.open_files(pid),
            clients.threads(pid),
            len(await asyncio.to_thread(connections, url)),
            load.done.total(),
        )
        samples.append(sample)
        say(sample)
        await asyncio.sleep(seconds / SAMPLES)
    return samples


def say(sample: Sample) -> None:
    sys.stdout.write(
        f"{sample.seconds:6.0f} s  {sample.resident_bytes / 2**20:7.1f} MiB  {sample.open_files:4} files  "
        f"{sample.threads:3} threads  {sample.connections:3} connections  {sample.requests:7} requests\n"
    )
    sys.stdout.flush()


def growths(samples: list[Sample]) -> list[str]:
    """What has grown between the first and the last third of the samples that count."""
    counted = samples[int(len(samples) * WARMING_UP) :]
    third = len(counted) // 3
    first, last = counted[:third], counted[-third:]
    found: list[str] = []
    before, after = (median(sample.resident_bytes for sample in part) for part in (first, last))
    if after > before * (1 + MOST_GROWTH):
        found.append(f"memory grew from {before / 2**20:.1f} to {after / 2**20:.1f} MiB")
    for name in ("open_files", "threads"):
        before, after = (max(getattr(sample, name) for sample in part) for part in (first, last))
        if after > before + 5:
            found.append(f"{name} grew from {before} to {after}")
    most = max(sample.connections for sample in samples)
    return found + ([f"{most} connections to MySQL, the pool has {POOL}"] if most > POOL else [])


async def soak(server: Server, process: Process, url: str, seconds: float) -> list[str]:
    load = Load(server, time.monotonic() + seconds, deque(), Counter())
    running = asyncio.create_task(load.run(int(os.environ.get("CLIENTS", "16"))))
    samples = await watch(process, url, load, seconds)
    await running
    asked = ", ".join(f"{number} {kind}" for kind, number in sorted(load.done.items()))
    sys.stdout.write(f"{load.done.total() / seconds:.0f} requests a second: {asked}\n")
    return growths(samples)


def main() -> int:
    logging.getLogger("asyncmy").setLevel(logging.ERROR)  # MySQL calls SHOW PROCESSLIST deprecated, each time
    seconds = float(sys.argv[1])
    url = mysql.make(os.environ["TEST_DATABASE_URL"])
    try:
        asyncio.run(migrations.run(url, lambda name: None))
        with tempfile.TemporaryDirectory() as folder, users_listening() as address:
            settings = settings_of(url, Path(folder) / "media", address)
            with started(Path(folder), "serve", DATABASE_POOL=str(POOL), **settings) as process:
                server = server_of(process, settings)
                await_ready(server)
                found = asyncio.run(soak(server, process, url, seconds))
                assert process.terminate() == 0
            assert_whole(server.settings)
            doctor = command("doctor", "--grace=0", **settings)
            sys.stdout.write(doctor.stdout + doctor.stderr)
    finally:
        mysql.drop(url)
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found or doctor.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
