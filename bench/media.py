"""What it costs to send a picture: the server beside nginx, which checks the same signatures."""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from bench import load, machine, servers
from bench.data import Filled
from bench.load import NUMBER, Figures
from bench.photos import photo
from graphql_server.addresses import Addresses
from tests.nginx import fronting
from tests.servers import KEY

PICTURES = 200


def report(filled: Filled, rounds: int, seconds: int) -> Iterator[str]:
    """Both in turns, each on one core."""
    content = photo()
    yield f"{machine.about()}; {PICTURES} pictures of {len(content):,} bytes"
    yield "| | pictures/s | CPU ms | core busy |"
    yield "|---|---:|---:|---:|"
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, servers.ours(filled.url, Path(name)) as server:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        paths = put(folder / "media", content)
        port = int(server.url.split(":")[2].partition("/")[0])
        with fronting(folder, folder / "media", port, KEY) as front:
            shots: dict[str, list[Figures]] = {server.name: [], "nginx": []}
            for _ in range(rounds + 1):
                shots[server.name].append(shoot(f"http://127.0.0.1:{port}", paths, server.pid, filled.pid, seconds))
                machine.pin(front.pid, machine.SERVER_CORE)
                shots["nginx"].append(shoot(f"http://127.0.0.1:{front.port}", paths, front.pid, filled.pid, seconds))
    for who, all_shots in shots.items():
        each = all_shots[1:]
        rate, cpu, busy = (statistics.median(getattr(shot, what) for shot in each) for what in ("rate", "cpu", "busy"))
        yield f"| {who} | {rate:,.0f} | {cpu:.3f} | {busy:.0%} |"


def put(media: Path, content: bytes) -> list[str]:
    """Lay down pictures; gives their signed paths."""
    addresses = Addresses("/media", (KEY,), 3600)
    (media / "1").mkdir(parents=True, exist_ok=True)
    paths: list[str] = []
    for number in range(PICTURES):
        file_name = f"{uuid4()}.jpg"
        (media / "1" / file_name).write_bytes(content.replace(NUMBER, b"%12d" % number))
        paths.append(addresses.address(1, file_name))
    return paths


def shoot(url: str, paths: list[str], pid: int, database_pid: int, seconds: int) -> Figures:
    requests = [load.request(f"{url}{path}", None, {}) for path in paths]
    return load.shoot(url, requests, pid, database_pid, seconds=seconds)
