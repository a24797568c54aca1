"""The servers that are compared, each started, pinned to a core and stopped again."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from tests.processes import PROJECT, Process, environment, free_port, settings_of, started, users_listening
from tests.servers import TOKEN

REFERENCE = "raw"
PEERS = Path(__file__).parent / "peers"
COMMANDS = {
    REFERENCE: (
        sys.executable,
        "-m",
        "uvicorn",
        "bench.peers.raw:app",
        "--loop=uvloop",
        "--http=httptools",
        "--no-access-log",
    ),
    "mercurius-jit": ("node", str(PEERS / "mercurius.mjs")),
    "apollo": ("node", str(PEERS / "apollo.mjs")),
}
OURS = "dataset-server"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=dict[str, str])


@contextmanager
def ours(database_url: str, folder: Path, *cores: int, **settings: str) -> Generator[Contender]:
    """Our server as in production, with a real user server, logs and all; `folder` keeps logs and pictures."""
    with users_listening() as users:
        given = settings_of(database_url, folder / "media", users) | settings
        with started(folder, "serve", **given) as process:
            machine.pin(process.popen.pid, *(cores or (machine.SERVER_CORE,)))
            yield Contender(OURS, f"{process.url}/graphql", process.popen.pid, {"authorization": f"Bearer {TOKEN}"})


@contextmanager
def peer(name: str, database_url: str, folder: Path) -> Generator[Contender]:
    port = free_port()
    output, errors = folder / f"{name}.out", folder / f"{name}.err"
    given = environment({"DATABASE_URL": database_url, "PORT": str(port), "NODE_ENV": "production"})
    command = [*COMMANDS[name], *(["--port", str(port)] if name == REFERENCE else [])]
    with output.open("wb") as out, errors.open("wb") as err:
        popen = subprocess.Popen(command, cwd=PROJECT, env=given, stdout=out, stderr=err, start_new_session=True)
    process = Process(popen, port, output, errors)
    try:
        process.wait()
        machine.pin(popen.pid, machine.SERVER_CORE)
        yield Contender(name, f"{process.url}/graphql", popen.pid)
    finally:
        process.kill()
