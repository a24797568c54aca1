"""The command `graphql-server` as an operator meets it: what it prints, where it listens, what it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from graphql import build_schema

from graphql_server import migrations
from graphql_server.media import Media
from tests.commands import Run, assert_one_line
from tests.photos import photo
from tests.processes import PROJECT, command, environment, free_port, started
from tests.servers import KEY, TOKEN, settings_for


@pytest.mark.parametrize("name", ["serve", "media", "demo-users", "demo"])
def test_a_port_that_is_taken_is_one_line_that_names_it(
    run: Run,
    environ: dict[str, str],
    tmp_path: Path,
    name: str,
) -> None:
    port = environ["PORT"]
    given = {"media": ["--port", port], "demo-users": ["--port", port], "demo": ["--folder", str(tmp_path / "demo")]}
    result = run(name, *given.get(name, []), **environ, DEMO_TOKEN=TOKEN)
    chosen_by = "--port or HOST" if "--port" in given.get(name, []) else "PORT or HOST"
    assert_one_line(result, f"Cannot listen on 127.0.0.1:{port}", f"choose another {chosen_by}")


def test_python_m_graphql_server_is_the_command_and_shows_no_traceback() -> None:
    done = command("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"graphql-server: DATABASE_URL is not set: [^\n]+\n", done.stderr)


def test_help_lists_every_command_and_each_tells_of_itself(run: Run) -> None:
    status, listed, _ = run("--help")
    assert status == 0
    for name in ("serve", "demo", "demo-users", "migrate", "media", "schema", "doctor"):
        assert re.search(rf"^ +{name}\b", listed, re.MULTILINE)
        status, told, _ = run(name, "--help")
        assert (status, f"graphql-server {name}" in told) == (0, True)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["serve", "--nothing"], ["doctor", "--grace", "x"]])
def test_a_command_that_does_not_exist_is_status_2_and_how_to_use_it(run: Run, arguments: list[str]) -> None:
    status, _, errors = run(*arguments)
    assert status == 2
    assert errors.startswith("usage: graphql-server")


def test_schema_prints_the_schema_and_check_tells_whether_a_file_is_stale(run: Run, tmp_path: Path) -> None:
    status, printed, _ = run("schema")
    assert status == 0
    assert "saveFix" in build_schema(printed, assume_valid=True).mutation_type.fields  # pyright: ignore[reportOptionalMemberAccess]
    file = tmp_path / "schema.graphql"
    file.write_text(printed, encoding="utf-8")
    assert run("schema", "--check", str(file)) == (0, "", "")
    for stale in (f"{printed}# more\n".encode(), b"\xff"):
        file.write_bytes(stale)
        status, output, errors = run("schema", "--check", str(file))
        assert (status, output) == (1, "")
        assert re.fullmatch(r"graphql-server: [^\n]+ is stale[^\n]+\n", errors)
    missing = run("schema", "--check", str(tmp_path / "missing"))
    assert_one_line(missing, str(tmp_path / "missing"))


def test_migrate_says_what_it_applies_and_nothing_the_second_time(run: Run, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'fresh.db'}"
    applied = "".join(f"{name}\n" for name in migrations.MIGRATIONS)
    done = "The database is up to date.\n"
    assert run("migrate", DATABASE_URL=url) == (0, applied + done, "")
    assert run("migrate", DATABASE_URL=url) == (0, done, "")


@pytest.mark.parametrize("name", ["schema", "doctor", "migrate", "demo"])
def test_what_cannot_be_printed_is_one_line_that_says_why(environ: dict[str, str], name: str, tmp_path: Path) -> None:
    environ["PORT"] = str(free_port())
    folder = ["--folder", str(tmp_path / "var")] if name == "demo" else []
    with Path("/dev/full").open("wb") as full:
        run = [sys.executable, "-W", "error", "-m", "graphql_server", name, *folder]
        done = subprocess.run(
            run, cwd=PROJECT, env=environment(environ), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "graphql-server: Cannot write to stdout: No space left on device\n"


def test_a_host_of_ipv6_stands_in_brackets_before_its_port(run: Run, tmp_path: Path) -> None:
    with started(tmp_path, "media", "--plain", HOST="::", MEDIA_ROOT=str(tmp_path)) as process:
        assert process.await_line("listening")["address"] == f"http://[::]:{process.port}"
    given = {"HOST": "2001:db8::1", "MEDIA_ROOT": str(tmp_path)}  # which no machine has
    assert_one_line(run("media", "--plain", **given), "Cannot listen on [2001:db8::1]:")


@pytest.mark.parametrize("name", ["media", "demo-users"])
@pytest.mark.parametrize("port", ["0", "65536", "99999", "http"])
def test_a_port_that_is_none_is_one_line(run: Run, environ: dict[str, str], name: str, port: str) -> None:
    result = run(name, "--port", port, **environ, DEMO_TOKEN=TOKEN)
    assert_one_line(result, "--port", port, "65535")


def test_media_of_a_folder_that_is_not_there_is_one_line(run: Run, environ: dict[str, str]) -> None:
    result = run("media", "--plain", **{**environ, "MEDIA_ROOT": "/no/such/folder"})
    assert_one_line(result, "MEDIA_ROOT", "/no/such/folder")


def test_media_serves_the_folder_alone_signed_or_plain(environ: dict[str, str], tmp_path: Path) -> None:
    name = "00000000-0000-4000-8000-000000000000.jpg"
    (tmp_path / "media" / "1").mkdir()
    content = photo()
    (tmp_path / "media" / "1" / name).write_bytes(content)
    root = {"MEDIA_ROOT": environ["MEDIA_ROOT"]}
    with started(tmp_path, "media", "--plain", **root) as process:
        answer = httpx.get(f"{process.url}/1/{name}", verify=False, trust_env=False)
        assert (answer.status_code, answer.content) == (200, content)
        assert httpx.get(f"{process.url}/graphql", verify=False, trust_env=False).status_code == 404
    settings = settings_for(environ["DATABASE_URL"], tmp_path / "media")
    signed = Media(settings.media_root, "", settings.media_signing_key, 3600).address(1, name)
    with started(tmp_path, "media", MEDIA_SIGNING_KEY=KEY, **root) as process:
        assert httpx.get(f"{process.url}/1/{name}", verify=False, trust_env=False).status_code == 403
        answer = httpx.get(f"{process.url}{signed}", verify=False, trust_env=False)
        assert (answer.status_code, answer.content) == (200, content)
