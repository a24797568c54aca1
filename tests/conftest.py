"""Databases, folders and servers for the tests; each test gets them as good as new."""

import asyncio
import logging
import os
import re
import socket
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from graphql_server import migrations
from graphql_server.cli import main
from graphql_server.decoding import Decoder
from graphql_server.media import Media
from graphql_server.pictures import Picture
from tests import mysql
from tests.commands import FIELDS, Ended, Run
from tests.doctor import Doctor, Outcome
from tests.media import KEYS
from tests.octets import MAX_REQUEST
from tests.pictures import LIMIT, Inspect
from tests.processes import Process, free_port, serving_on_sqlite, settings_of, started
from tests.production import Measured, measuring
from tests.servers import Server, UserServer, running, settings_for
from tests.shared import sharing


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a third of the tests' time is waiting."""
    return len(os.sched_getaffinity(0)) * 3 // 2


@pytest.fixture(autouse=True, scope="session")
def plain_tracebacks() -> None:
    """With all variables, as structlog shows them where rich is installed, one takes seconds of computing."""
    *others, _ = structlog.get_config()["processors"]
    shown = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, shown])


@pytest.fixture(autouse=True)
def same_logging() -> Generator[None]:
    """Commands that run in this process set up its log; afterwards it is as before."""
    root, structured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structured)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def mysql_server() -> str:
    """The address of the MySQL-speaking server; a test that needs it fails without it."""
    url = os.environ.get("TEST_DATABASE_URL", "")
    if not url.startswith("mysql://"):
        pytest.fail("TEST_DATABASE_URL names no MySQL server; 'make test' starts one")
    return url


@pytest.fixture
def new_mysql(mysql_server: str) -> Generator[str]:
    """The address of a database without tables."""
    url = mysql.make(mysql_server)
    yield url
    mysql.drop(url)


@pytest.fixture(scope="session")
def migrated_mysql(mysql_server: str) -> Generator[str]:
    url = mysql.make(mysql_server)
    asyncio.run(migrations.run(url, lambda name: None))
    yield url
    mysql.drop(url)


@pytest.fixture(params=["sqlite", "mysql"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database that holds nothing but the untrained dataset."""
    if engine == "mysql":
        url: str = request.getfixturevalue("migrated_mysql")
        mysql.empty(url)
        return url
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    return url


@pytest.fixture
def media_root(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
def media(media_root: Path) -> Media:
    """A folder of pictures."""
    media_root.mkdir()
    return Media(media_root, "/media", KEYS, 3600)


@pytest.fixture
def server(database_url: str, media_root: Path) -> Generator[Server]:
    with running(settings_for(database_url, media_root)) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """The demo as `make serve` starts it; its token is the one that it prints."""
    folder = tmp_path_factory.mktemp("demo")
    with started(folder, "demo", "--folder", str(folder / "var")) as process:
        printed = re.search(r"(\S+)/graphql#token=(\S+)", process.output.read_text())
        assert printed, process.output.read_text()
        settings = settings_for(f"sqlite://{folder}/var/demo.db", folder / "var" / "media")
        yield Server(printed[1], settings, UserServer(), token=printed[2])


@pytest.fixture
def environ(tmp_path: Path) -> Generator[dict[str, str]]:
    """Settings with which a server would start, were its port not taken."""
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_of(url, tmp_path / "media", "http://127.0.0.1:9/")
        yield {**settings, "PORT": str(taken.getsockname()[1])}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of `graphql-server` in this process, with these settings and no others."""

    def ended(*arguments: str, **settings: str) -> Ended:
        with monkeypatch.context() as patch:
            for field in FIELDS:
                patch.delenv(field.upper(), raising=False)
            for name, value in settings.items():
                patch.setenv(name, value)
            capsys.readouterr()
            with pytest.raises(SystemExit) as exited:
                main(arguments)
        captured = capsys.readouterr()
        return int(exited.value.code or 0), captured.out, captured.err

    return ended


@pytest.fixture
def doctor(database_url: str, media_root: Path, run: Run) -> Doctor:
    """Runs `graphql-server doctor` on the test's database and folder."""
    media_root.mkdir(exist_ok=True)

    def examine(*arguments: str, url: str = database_url, root: Path = media_root) -> Outcome:
        return Outcome(*run("doctor", *arguments, DATABASE_URL=url, MEDIA_ROOT=str(root)))

    return examine


@pytest.fixture
async def inspect(tmp_path: Path) -> AsyncGenerator[Inspect]:
    """Inspect bytes as a decoder with the usual limits does."""
    decoder = Decoder(2, LIMIT)

    async def inspect(content: bytes) -> Picture:
        path = tmp_path / uuid4().hex
        path.write_bytes(content)
        return await decoder.inspect(path)

    yield inspect
    decoder.close()


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server that the tests of one module share."""
    with sharing(request, tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Generator[Process]:
    """A server as it runs in production, for all who send it rubbish."""
    with serving_on_sqlite(tmp_path_factory.mktemp("hostile"), MAX_REQUEST_BYTES=str(MAX_REQUEST)) as (running, _):
        yield running


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Process, Server]]:
    """A server of slow clients, as a process and as one that is asked."""
    with serving_on_sqlite(tmp_path_factory.mktemp("slow")) as both:
        yield both


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Server, Measured]]:
    with measuring(tmp_path_factory.mktemp("measured")) as both:
        yield both


@pytest.fixture(scope="module")
def production(measured: tuple[Server, Measured]) -> Server:
    return measured[0]


@pytest.fixture
def place() -> str:
    """Where a server tells its figures."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def watched(database_url: str, media_root: Path, place: str) -> Generator[Server]:
    """A server that tells its figures at that place."""
    host, _, port = place.partition(":")
    # A lock is waited for long enough for what a busy machine does meanwhile.
    with running(settings_for(database_url, media_root, metrics=(host, int(port)), database_seconds=30.0)) as server:
        yield server
