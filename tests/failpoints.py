"""A server that is killed at one step of a request.

Each call that touches the disk or the database is two steps, the moment before it and the moment after. A process
that has imported everything forks a child for each job, since starting Python anew would take most of the time.
"""

import asyncio
import functools
import gc
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import aiosqlite
import httpx
from asyncmy.connection import Connection

from graphql_server import cli
from graphql_server.app import create_app
from graphql_server.doctor import files
from graphql_server.groups import Groups
from graphql_server.schema import execution
from graphql_server.settings import Settings
from tests.photos import photo
from tests.servers import TOKEN, UserServer
from tests.together import CREATE, REMOVE, Ask, asking, come, saving

Job = dict[str, Any]
CALLS: Sequence[tuple[Any, str]] = (
    *((os, name) for name in ("open", "fsync", "link", "unlink", "mkdir", "rename", "replace", "rmdir", "write")),
    (io, "open"),
    (Connection, "_write_bytes"),
)
AWAITED: Sequence[tuple[Any, str]] = (
    (aiosqlite.Connection, "_execute"),
    (Connection, "_read_ok_packet"),
    (Connection, "_read_query_result"),
)
# What is asked at once.
ASKS: Mapping[str, Callable[[Any], list[Ask]]] = {
    "save": lambda seed: [saving(photo("PNG", seed=seed))],
    "group": lambda seeds: [saving(photo("PNG", seed=seed), idempotencyKey=f"key {seed}") for seed in seeds],
    "seal": lambda title: [asking(CREATE, title=title)],
    "remove": lambda pk: [asking(REMOVE, pk=pk)],
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child came to: the steps that it took, the answers that arrived, its exit status, its output."""

    steps: list[str]
    answers: list[dict[str, Any]]
    status: int
    text: str


class Forks:
    """The process that has imported everything."""

    def __init__(self, popen: "subprocess.Popen[bytes]", settings: Mapping[str, str]) -> None:
        self._popen = popen
        self._settings = dict(settings)

    def ask(self, *asks: tuple[str, Any], fatal: int = 0) -> Outcome:
        """Start a server, ask it one after the other, and kill it: at step `fatal` or after the last answer.

        Each answer that arrives is a step, too; what is asked at once is saved by one transaction.
        """
        return self._do({"settings": self._settings, "asks": asks, "fatal": fatal})

    def run(self, *arguments: str) -> Outcome:
        """Run a command of graphql-server."""
        return self._do({"settings": self._settings, "arguments": arguments})

    def _do(self, job: Job) -> Outcome:
        assert self._popen.stdin
        assert self._popen.stdout
        self._popen.stdin.write(json.dumps(job).encode() + b"\n")
        self._popen.stdin.flush()
        said = json.loads(self._popen.stdout.readline())
        lines = [json.loads(line) for line in said["said"].splitlines() if line.startswith("[")]
        steps = [step for kind, step in lines if kind == "step"]
        return Outcome(steps, [answer for kind, answer in lines if kind == "answer"], said["status"], said["said"])


@contextmanager
def forks(folder: Path, settings: Mapping[str, str]) -> Generator[Forks]:
    """Run jobs with these settings, until the block ends."""
    with (folder / "forks.err").open("wb") as errors:
        popen = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.failpoints"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=Path(__file__).parent.parent,
        )
    with popen:
        yield Forks(popen, settings)
        assert popen.stdin
        popen.stdin.close()


class Steps:
    """Counts what is done, and kills the process at one step; 0 lets it live."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._taken = 0
        self._lock = threading.Lock()
        self.counting = False

    def take(self, name: str) -> None:
        if not self.counting:
            return
        with self._lock:
            self._taken += 1
            say("step", name)
            if self._taken == self._fatal:
                die()

    def watch(self) -> None:
        """Have every call that is named above take its two steps."""
        for owner, name in CALLS:
            setattr(owner, name, self._around(getattr(owner, name), name))
        for owner, name in AWAITED:
            setattr(owner, name, self._around_awaited(getattr(owner, name), name))

    def _around(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Any:
            shown = f"{name} {_text(args)}"
            self.take(f"before {shown}")
            try:
                return call(*args, **kwargs)
            finally:
                self.take(f"after {shown}")

        return watched

    def _around_awaited(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(call)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            shown = f"{name} {_text(args)}"
            self.take(f"before {shown}")
            try:
                return await call(*args, **kwargs)
            finally:
                self.take(f"after {shown}")

        return watched


def _text(args: Sequence[Any]) -> str:
    """The arguments that tell where we are: paths, statements and the names of methods."""
    texts = (getattr(arg, "__name__", arg) for arg in args)
    return " ".join(str(text)[:200] for text in texts if isinstance(text, str | bytes | Path))


write, kill = os.write, os.kill  # themselves, when os has been put under watch


def say(kind: str, what: object) -> None:
    write(1, json.dumps([kind, what]).encode() + b"\n")


def die() -> NoReturn:
    kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


async def _serve(job: Job) -> None:
    settings = Settings.from_environment(job["settings"])
    steps = Steps(job["fatal"])
    steps.watch()
    app = create_app(settings, httpx.MockTransport(UserServer()))
    headers = {"authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server.test", headers=headers) as client,
    ):

        async def send(ask: Ask) -> None:
            response = await client.post("/graphql", **ask)
            say("answer", response.json())
            steps.take("after the answer")

        for kind, argument in job["asks"]:
            asks = ASKS[kind](argument)
            steps.counting = True
            with begun_by(len(asks)):
                await asyncio.gather(*(send(ask) for ask in asks))
            steps.counting = False
        die()


@contextmanager
def begun_by(number: int) -> Generator[None]:
    """No group of saves begins before so many have come, as if others were saved meanwhile."""
    owner = cast("Any", Groups)
    begin: Callable[[Groups[Any, Any]], None] = owner._begin  # noqa: SLF001 - otherwise the first is saved alone
    all_come = False

    def begin_late(groups: Groups[Any, Any]) -> None:
        nonlocal all_come
        all_come = all_come or come(groups) == number
        if all_come:
            begin(groups)

    owner._begin = begin_late  # noqa: SLF001
    try:
        yield
    finally:
        owner._begin = begin  # noqa: SLF001


def _live(job: Job) -> None:
    """What a child does."""
    if "asks" in job:
        asyncio.run(_serve(job))
    os.environ.update(job["settings"])
    cli.main(job["arguments"])


def _fork(job: Job) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        try:
            _live(job)
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(cast("int", ended.code or 0))
        finally:
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType] - there is one, or we were not here
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    return {"said": said, "status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def main() -> None:
    # Every child would build the schema again, which never changes.
    execution.build_schema = functools.cache(execution.build_schema)
    execution.build_schema()
    # The doctor pauses for the sake of servers at work; here they are dead when it comes.
    files.PAUSE_SECONDS = 0.0
    gc.freeze()
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(_fork(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
