"""The command `graphql-server` in processes of its own, as an operator starts it."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn

from graphql_server import demo, migrations
from tests.servers import KEY, TOKEN, Server, UserServer, settings_for

PROJECT = Path(__file__).parent.parent


def free_port() -> int:
    """A port that nobody has; none of those that the system gives to whoever asks for any."""
    while not is_free(port := random.randint(20_000, 32_000)):
        pass
    return port


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of this process with these settings and no others."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **settings}


def command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "graphql_server", *arguments],
        cwd=PROJECT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Process:
    """A command that listens on a port; what it writes goes into two files."""

    popen: subprocess.Popen[bytes]
    port: int
    output: Path
    errors: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> list[dict[str, Any]]:
        """What it has written to stdout, a line of JSON each; the last may not be whole yet."""
        return [orjson.loads(line) for line in self.output.read_bytes().split(b"\n")[:-1]]

    def await_line(self, event: str, number: int = 1) -> dict[str, Any]:
        """The line of its log that is the first, or of that number, whose event begins so; it is waited for."""
        for _ in range(600):
            lines = [line for line in self.log() if line["event"].startswith(event)]
            if len(lines) >= number:
                return lines[number - 1]
            time.sleep(0.05)
        raise AssertionError(f"no line says {event!r}")

    def terminate(self) -> int:
        """Ask it to stop; gives the exit status."""
        self.popen.terminate()
        return self.popen.wait(30)

    def kill(self) -> None:
        """Kill it with its workers, which would otherwise finish what is in flight."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(30)

    def wait(self) -> None:
        """Wait until it listens."""
        for _ in range(600):
            assert self.popen.poll() is None, self.errors.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("nothing listens")


@contextmanager
def listening(
    folder: Path, port: int, command: Sequence[str | Path], home: Path, settings: Mapping[str, str]
) -> Generator[Process]:
    """Start a program in its home, wait until it listens on a port, and kill it at the end if it runs then."""
    output, errors = folder / f"{port}.out", folder / f"{port}.err"
    with output.open("ab") as out, errors.open("ab") as err:
        popen = subprocess.Popen(
            command, cwd=home, env=environment(settings), stdout=out, stderr=err, start_new_session=True
        )
    process = Process(popen, port, output, errors)
    try:
        process.wait()
        yield process
    finally:
        process.kill()


def started(folder: Path, *arguments: str, **settings: str) -> AbstractContextManager[Process]:
    """A command that listens."""
    port = free_port()
    given = [f"--port={port}"] if arguments[0] in ("media", "demo-users") else []
    command = [sys.executable, "-W", "error", "-m", "graphql_server", *arguments, *given]
    return listening(folder, port, command, PROJECT, {"PORT": str(port), **settings})


@contextmanager
def users_listening() -> Generator[str]:
    """The address of a real user server that knows the tests' token."""
    server = uvicorn.Server(uvicorn.Config(demo.users(TOKEN), log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/authenticate"
        finally:
            server.should_exit = True
            thread.join(30)


def settings_of(database_url: str, media_root: Path, user_server_url: str) -> dict[str, str]:
    """The environment of a server in production."""
    media_root.mkdir(exist_ok=True)
    return {
        "DATABASE_URL": database_url,
        "MEDIA_ROOT": str(media_root),
        "MEDIA_SIGNING_KEY": KEY,
        "USER_SERVER_URL": user_server_url,
    }


def server_of(process: Process, settings: Mapping[str, str]) -> Server:
    """Talk to a process as to a server in this one; its user server cannot be commanded."""
    kept = settings_for(settings["DATABASE_URL"], Path(settings["MEDIA_ROOT"]))
    return Server(process.url, kept, UserServer())


@contextmanager
def serving_on_sqlite(folder: Path, **others: str) -> Generator[tuple[Process, Server]]:
    """Run a server as in production; gives its process, and it as one that is asked."""
    url = f"sqlite://{folder / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with users_listening() as users:
        settings = settings_of(url, folder / "media", users)
        with started(folder, "serve", **others, **settings) as process:
            yield process, server_of(process, settings)


def ready(process: Process) -> bool:
    return httpx.get(f"{process.url}/readyz", trust_env=False, verify=False).status_code == 200
