"""The server inside other applications, as docs/embedding.md has it, and as an installed package."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.routing import Mount

from graphql_server import migrations
from graphql_server.app import create_app
from graphql_server.traces import Tracing
from tests.front_door import ANSWER, QUERY
from tests.holdings import assert_whole
from tests.live import SSE, events, streaming
from tests.photos import photo
from tests.processes import PROJECT, settings_of, users_listening
from tests.servers import TOKEN, Server, UserServer, listening, settings_for
from tests.together import CREATE
from tests.waiting import wait_until

GUIDE = (PROJECT / "docs" / "embedding.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def other_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of another database of the same kind."""
    url: str = request.getfixturevalue("new_mysql") if engine == "mysql" else f"sqlite://{tmp_path / 'other.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    return url


@pytest.fixture
def environ(
    database_url: str, other_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[dict[str, str]]:
    """The settings of the examples, in this process's environment."""
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        settings |= {"DINNER_DATABASE_URL": other_url, "DINNER_MEDIA_ROOT": str(tmp_path / "other")}
        (tmp_path / "other").mkdir()
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield settings


def built(name: str) -> Any:
    """The application that an example makes."""
    made: dict[str, Any] = {"__name__": name}
    exec(compile(EXAMPLES[name], name, "exec"), made)
    return made["app"]


def inside(url: str, path: str, database_url: str, media_root: Path) -> Server:
    return Server(f"{url}{path}", settings_for(database_url, media_root), UserServer())


def test_fastapi_serves_it_and_answers_for_its_tokens_in_the_same_process(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_SERVER_URL", "http://app/authenticate")
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    monkeypatch.setenv("MEDIA_URL", "/datasets/media")
    with listening(built("fastapi")) as url:
        server = inside(url, "/datasets", environ["DATABASE_URL"], tmp_path / "media")
        content = photo()
        image = server.save(content)
        assert image["url"].startswith("/datasets/media/")
        assert httpx.get(f"{url}{image['url']}", verify=False, trust_env=False).content == content
        assert server.get("/readyz").status_code == 200
        assert httpx.get(f"{url}/openapi.json", verify=False, trust_env=False).status_code == 200
        server.token = "another"
        assert server.codes(QUERY) == ["UNAUTHENTICATED"]
    assert_whole(server.settings)


def test_two_servers_in_one_starlette_keep_their_own_data_under_load(environ: dict[str, str], tmp_path: Path) -> None:
    with listening(built("starlette")) as url, ThreadPoolExecutor(8) as threads:
        lunch = inside(url, "/lunch", environ["DATABASE_URL"], tmp_path / "media")
        dinner = inside(url, "/dinner", environ["DINNER_DATABASE_URL"], tmp_path / "other")
        saves = [threads.submit((lunch if n % 3 else dinner).save, photo(seed=n), f"{n % 3}.jpg") for n in range(15)]
        for save in saves:
            save.result()
        seals = [threads.submit(server.data, CREATE, {"title": "Same title"}) for server in (lunch, dinner)]
        for seal in seals:
            seal.result()
        query = "{ images { totalCount nodes { originalFileName dataset { title } } } }"
        found = [server.data(query)["images"] for server in (lunch, dinner)]
    assert [part["totalCount"] for part in found] == [10, 5]
    assert {image["originalFileName"] for image in found[0]["nodes"]} == {"1.jpg", "2.jpg"}
    assert {image["originalFileName"] for image in found[1]["nodes"]} == {"0.jpg"}
    assert {image["dataset"]["title"] for part in found for image in part["nodes"]} == {"Same title"}
    for server in (lunch, dinner):
        assert_whole(server.settings)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_under_plain_uvicorn_a_follower_holds_up_the_end_no_longer_than_uvicorn_is_told(
    environ: dict[str, str], tmp_path: Path
) -> None:
    outer = uvicorn.Server(uvicorn.Config(built("starlette"), log_config=None, timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=outer.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: outer.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = inside(url, "/lunch", environ["DATABASE_URL"], tmp_path / "media")
        with streaming(server, SSE) as stream:
            server.save(photo())
            told = events(stream)
            assert next(told)[0] == "next"
            outer.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("engine", ["sqlite"])
def test_one_that_is_closed_leaves_the_other_at_work(database_url: str, other_url: str, tmp_path: Path) -> None:
    transport = httpx.MockTransport(UserServer())
    first = create_app(settings_for(database_url, tmp_path / "first"), transport)
    second = create_app(settings_for(other_url, tmp_path / "second"), transport)

    async def ask(app: Starlette) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return (await client.post("/graphql", json={"query": QUERY}, headers=headers)).json()

    async def both() -> list[Any]:
        async with second.router.lifespan_context(second):
            async with first.router.lifespan_context(first):
                before = [await ask(first), await ask(second)]
            return [*before, await ask(second)]

    assert asyncio.run(both()) == [ANSWER] * 3


@pytest.mark.parametrize("engine", ["sqlite"])
def test_spans_go_to_the_provider_that_the_other_application_has(database_url: str, media_root: Path) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = create_app(
        settings_for(database_url, media_root), httpx.MockTransport(UserServer()), tracing=Tracing(provider)
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with app.router.lifespan_context(app):
            yield

    with listening(Starlette(routes=[Mount("/datasets", app)], lifespan=lifespan)) as url:
        inside(url, "/datasets", database_url, media_root).data(QUERY)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert {"POST /graphql", "graphql query", "ask user server", "SELECT"} <= spans.keys()
    assert spans["POST /graphql"].attributes == {
        "http.request.method": "POST",
        "url.path": "/datasets/graphql",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize("engine", ["mysql"])
def test_two_servers_on_both_kinds_of_database_are_refused_before_anything_is_changed(
    server: Server, tmp_path: Path
) -> None:
    asyncio.run(migrations.run(f"sqlite://{tmp_path / 'other.db'}", lambda name: None))
    with structlog.testing.capture_logs() as logged:
        assert server.codes(CREATE, {"title": "Lunch"}) == ["INTERNAL_SERVER_ERROR"]
    (failed,) = (line for line in logged if line["log_level"] == "error")
    assert "either SQLite or MySQL" in str(failed["exc_info"])
    assert server.data(QUERY) == ANSWER["data"]


@pytest.mark.parametrize("engine", ["sqlite"])
def test_one_whose_lifespan_nobody_runs_says_so_in_the_log(database_url: str, media_root: Path) -> None:
    forgotten = Starlette(routes=[Mount("/datasets", create_app(settings_for(database_url, media_root)))])
    with listening(forgotten) as url, structlog.testing.capture_logs() as logged:
        assert httpx.get(f"{url}/datasets/graphql", verify=False, trust_env=False).status_code == 500
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["request failed"]


def test_the_installed_package_has_the_command_its_types_and_graphiql(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-index", "--no-deps"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(PROJECT)])
    (wheel,) = tmp_path.glob("*.whl")
    run([*pip, "--python", str(python), "install", *offline, str(wheel)])
    site = next((tmp_path / "venv" / "lib").glob("python3*/site-packages"))
    # What it needs is here already; the path alone brings no other install of the package along.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    assert (site / "graphql_server" / "py.typed").exists()
    assert (site / "graphql_server" / "http" / "static" / "graphiql" / "index.html").exists()
    run([str(tmp_path / "venv" / "bin" / "graphql-server"), "schema", "--check", str(PROJECT / "schema.graphql")])
    where = run([str(python), "-c", "import graphql_server; print(graphql_server.__file__)"])
    assert where.strip() == str(site / "graphql_server" / "__init__.py")


def run(command: list[str]) -> str:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, check=True).stdout
