"""The command `graphql-server` as an operator meets it: one line for what is wrong, and an orderly end."""

import asyncio
import dataclasses
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from graphql import build_schema

from graphql_server import cli, database_url, migrations
from graphql_server.media import Media
from graphql_server.settings import Settings, setting
from tests import mysql
from tests.holdings import assert_whole, files_in
from tests.live import MULTIPART, SSE, events, following, parts, streaming
from tests.parts import MUCH, merged, parting, parts_of
from tests.photos import photo
from tests.processes import (
    PROJECT,
    Process,
    command,
    environment,
    free_port,
    is_free,
    server_of,
    settings_of,
    started,
    users_listening,
)
from tests.rows import put_images, untrained_pk
from tests.servers import KEY, SAVE_FIX, TOKEN, Server, settings_for
from tests.waiting import wait_until

FIELDS = [field.name for field in dataclasses.fields(Settings)]
NO_NUMBER = ["-1", "many", "1e9999", "²", "20MB"]  # what no setting that is a number takes
WRONG = {
    "database_url": [
        "postgres://app@db/app",
        "mysql://",
        "mysql://host:99999/app",
        "mysql://host",
        "app.db",
        "mysql://u:p@a..b/db",
        "mysql://host/app",
        "mysql://:p@host/app",
        "mysql://u:p%E4@host/app",
        "mysql://u:p[@host/app",
    ],
    "user_server_url": [
        "ftp://users",
        "users",
        "http://",
        "http://:80/authenticate",
        "http://me:pw@users.test",
        "http://a..b/",
        "http://[::1",
        "http://users/#x",
        "grpc://users/path",
        "grpc://users:50051?x",
        "grpc://me:pw@users:50051",
        "grpc://:50051",
    ],
    "media_root": ["/no/such/folder", __file__],
    "media_url": [
        *("media", "ftp://media", "https://a..b", "https://:443"),
        *("/graphql", "/graphql/media"),
        *("/media?a", "/media#a", "/\\media", "/\t/media"),
        *("//media", "/a/../b", "/a/./b", "/a/%2e%2E/b", "https://media.example/a/.."),
    ],
    "media_signing_key": ["short", "a" * 64, f"{KEY},short", f"{KEY}changeme", " , "],
    "host": ["no host", "256.1.1.1", "a..b"],
    "port": ["0", "65536", "http"],
    "workers": ["0", "2"],
    "metrics": ["on", "9100", ":9100", "127.0.0.1:0", "127.0.0.1:65536", "256.1.1.1:9100", "a..b:9101"],
    "graphiql": ["yes"],
    "introspection": ["1"],
    "persisted_operations": ["/no/such/file", "/var/empty", __file__],
    "gateway_secret": ["short", KEY],
    "cors_origins": [
        *("review.example", "https://review.example/path", "https://", "https://me@review.example"),
        *("https://Review.Example", "HTTPS://review.example", "https://ä.example"),
        *("https://review.example:443", "http://review.example:80", "https://a.example,https://review.example:0443"),
    ],
    "log_format": ["xml"],
    "log_level": ["loud"],
}


@pytest.fixture
def environ(tmp_path: Path) -> Generator[dict[str, str]]:
    """Settings with which a server would start, were its port not taken."""
    url = f"sqlite://{tmp_path / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_of(url, tmp_path / "media", "http://127.0.0.1:9/")
        yield {**settings, "PORT": str(taken.getsockname()[1])}


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, **settings: str
) -> tuple[int, str, str]:
    """Run a command in this process with these settings and no others; gives its status, stdout and stderr."""
    with monkeypatch.context() as patch:
        for name in (name.upper() for name in FIELDS):
            patch.delenv(name, raising=False)
        for name, value in settings.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def assert_one_line(result: tuple[int, str, str], *named: str) -> None:
    status, _, errors = result
    assert status == 2, errors
    assert re.fullmatch(r"graphql-server: [^\n]+\n", errors), errors
    assert [name for name in named if name not in errors] == [], errors


# What is missing or wrong


@pytest.mark.parametrize("name", ["DATABASE_URL", "USER_SERVER_URL", "MEDIA_SIGNING_KEY"])
def test_a_setting_that_is_missing_or_empty_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], name: str
) -> None:
    without = {key: value for key, value in environ.items() if key != name}
    assert_one_line(run(monkeypatch, capsys, "serve", **without), f"{name} is not set")
    assert_one_line(run(monkeypatch, capsys, "serve", **without, **{name: ""}), f"{name} is not set")


def test_a_media_folder_that_nothing_can_be_staged_in_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    (Path(environ["MEDIA_ROOT"]) / ".staging").write_bytes(b"in the way")
    result = run(monkeypatch, capsys, "serve", **environ)
    assert_one_line(result, "MEDIA_ROOT", "no folder that can be written to")
    assert "storage unavailable" not in result[1]


def test_all_settings_that_are_missing_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ("DATABASE_URL", "USER_SERVER_URL", "MEDIA_SIGNING_KEY")
    for name in needed:
        monkeypatch.delenv(name, raising=False)
    assert_one_line(run(monkeypatch, capsys, "serve"), *(f"{name} is not set" for name in needed))


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], field: str
) -> None:
    for value in WRONG.get(field, NO_NUMBER):
        result = run(monkeypatch, capsys, "serve", **{**environ, field.upper(): value})
        assert_one_line(result, field.upper())


@pytest.mark.parametrize("field", FIELDS)
def test_a_setting_that_is_no_text_is_one_line_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], field: str
) -> None:
    value = f"{environ.get(field.upper(), '')}\udcff"  # as Python gives what is no UTF-8
    assert_one_line(run(monkeypatch, capsys, "serve", **{**environ, field.upper(): value}), field.upper(), "UTF-8")


def test_a_secret_that_is_wrong_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    for name, value in (("MEDIA_SIGNING_KEY", "a-short-secret"), ("DATABASE_URL", "postgres://app:a-short-secret@db/")):
        _, output, errors = run(monkeypatch, capsys, "serve", **{**environ, name: value})
        assert "a-short-secret" not in output + errors


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:wrong-password@{place}/app",
        "mysql://nobody:apppw@{place}/app",
        "mysql://app:wrong-password@127.0.0.1:1/app",
        # The server signs its certificate itself, which nobody vouches for.
        "mysql://app:apppw@{place}/app?ssl=on",
        "mysql://app:apppw@{place}/app?ssl=true",
        "mysql://app:apppw@{place}/app?ssl_ca=/no/such/file",
        "mysql://app:apppw@{place}/app?read_timeout=3",
        "mysql://app:wrong-password?@{place}/app",
        "mysql://app:wrong-password/1@{place}/app",
        "sqlite:///no/such/folder/test.db",
        f"sqlite://{__file__}",
    ],
)
@pytest.mark.parametrize("name", ["serve", "migrate"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    mysql_server: str,
    name: str,
    url: str,
) -> None:
    place = mysql_server.rpartition("@")[2].partition("/")[0]
    began = time.monotonic()
    result = run(monkeypatch, capsys, name, **{**environ, "DATABASE_URL": url.format(place=place)})
    assert_one_line(result, "DATABASE_URL")
    assert "wrong-password" not in "".join(result[1:])
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["serve", "migrate", "doctor"])
def test_a_database_that_takes_a_connection_and_says_nothing_is_one_line_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], name: str
) -> None:
    monkeypatch.setattr(database_url, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://app:apppw@127.0.0.1:{silent.getsockname()[1]}/app"
        result = run(monkeypatch, capsys, name, **{**environ, "DATABASE_URL": url})
    assert_one_line(result, "DATABASE_URL", "no answer within 0.5 seconds")


def test_a_database_that_is_not_migrated_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "fresh.db").touch()
    fresh = {**environ, "DATABASE_URL": f"sqlite://{tmp_path / 'fresh.db'}"}
    assert_one_line(run(monkeypatch, capsys, "serve", **fresh), "graphql-server migrate")


@pytest.mark.parametrize("name", ["serve", "doctor"])
def test_a_path_of_sqlite_that_is_mistyped_is_one_line_and_makes_no_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    tmp_path: Path,
    name: str,
) -> None:
    file = tmp_path / "mistyped.db"
    result = run(monkeypatch, capsys, name, **{**environ, "DATABASE_URL": f"sqlite://{file}"})
    assert_one_line(result, "DATABASE_URL", str(file), "graphql-server migrate")
    assert not file.exists()


@pytest.mark.parametrize("place", ["missing/test.db", "."])
def test_a_file_of_sqlite_that_cannot_be_opened_is_one_line_that_names_it_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str
) -> None:
    file = str(tmp_path / place)
    result = run(monkeypatch, capsys, "migrate", DATABASE_URL=f"sqlite://{file}")
    assert_one_line(result, "DATABASE_URL", file, "make its folder")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite://:memory:"])
def test_sqlite_without_a_file_is_told_to_have_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], url: str
) -> None:
    for name in ("serve", "migrate"):
        assert_one_line(run(monkeypatch, capsys, name, **{**environ, "DATABASE_URL": url}), "DATABASE_URL", "sqlite://")


def test_a_password_that_is_not_encoded_is_told_how_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    for password in ("a?b", "a/b", "a#b"):
        result = run(monkeypatch, capsys, "serve", **{**environ, "DATABASE_URL": f"mysql://app:{password}@db/app"})
        assert_one_line(result, "DATABASE_URL", "%3F", "password")
        assert password not in result[2]


def test_a_password_of_any_letters_is_the_one_that_mysql_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], new_mysql: str
) -> None:
    for password in ("pä", "p€", "비밀번호", "a/b?c#d@e:f[g]%"):
        with mysql.account(new_mysql, password=password) as name:
            mysql.grant(new_mysql, name, "ALL")
            url = mysql.address_for(name, new_mysql, password)
            assert run(monkeypatch, capsys, "migrate", DATABASE_URL=url)[::2] == (0, ""), password


def test_only_where_a_password_may_stand_is_told_how_to_write_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    result = run(monkeypatch, capsys, "serve", **{**environ, "USER_SERVER_URL": "http://[::1"})
    assert_one_line(result, "USER_SERVER_URL", "host name")
    assert "password" not in result[2]


def test_a_collector_of_traces_at_no_address_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    for url in ("collector:4318", "http://a..b:4318", "http://collector:99999", "http://c/\udcff"):
        result = run(monkeypatch, capsys, "serve", **environ, OTEL_EXPORTER_OTLP_ENDPOINT=url)
        assert_one_line(result, "OTEL_EXPORTER_OTLP_ENDPOINT")


def test_origins_are_taken_as_browsers_write_them() -> None:
    written = (
        "https://review.example",
        "http://localhost:5173",
        "http://[::1]:8080",
        "https://xn--4ca.example:80",
        "*",
    )
    assert setting("cors_origins", {"CORS_ORIGINS": " , ".join(written)}) == written


def test_a_path_for_pictures_may_begin_as_another_of_ours_does() -> None:
    assert setting("media_url", {"MEDIA_URL": "/graphqlpics/"}) == "/graphqlpics"


@pytest.mark.parametrize("path", ["/graphql/pictures", "/healthz", "/graph%71l"])
def test_a_path_for_pictures_that_the_server_needs_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], path: str
) -> None:
    result = run(monkeypatch, capsys, "serve", **{**environ, "MEDIA_URL": path})
    assert_one_line(result, f"MEDIA_URL='{path}'", "the server itself answers")


def test_sqlite_with_two_workers_is_one_line_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    assert_one_line(run(monkeypatch, capsys, "serve", **{**environ, "WORKERS": "2"}), "WORKERS", "SQLite")


@pytest.mark.parametrize("name", ["serve", "media", "demo-users", "demo"])
def test_a_port_that_is_taken_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environ: dict[str, str],
    tmp_path: Path,
    name: str,
) -> None:
    port = environ["PORT"]
    given = {"media": ["--port", port], "demo-users": ["--port", port], "demo": ["--folder", str(tmp_path / "demo")]}
    result = run(monkeypatch, capsys, name, *given.get(name, []), **environ, DEMO_TOKEN=TOKEN)
    chosen_by = "--port or HOST" if "--port" in given.get(name, []) else "PORT or HOST"
    assert_one_line(result, f"Cannot listen on 127.0.0.1:{port}", f"choose another {chosen_by}")


def test_the_demos_user_server_needs_a_token_that_the_server_would_ask_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(run(monkeypatch, capsys, "demo-users"), "DEMO_TOKEN")
    for token in ("\udcff", "ü", "two words"):
        assert_one_line(run(monkeypatch, capsys, "demo-users", DEMO_TOKEN=token), "DEMO_TOKEN", "openssl rand")


def test_python_m_graphql_server_is_the_command_and_shows_no_traceback() -> None:
    done = command("serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"graphql-server: DATABASE_URL is not set: [^\n]+\n", done.stderr)


# Commands that end by themselves


def test_help_lists_every_command_and_each_tells_of_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, listed, _ = run(monkeypatch, capsys, "--help")
    assert status == 0
    for name in ("serve", "demo", "demo-users", "migrate", "media", "schema", "doctor"):
        assert re.search(rf"^ +{name}\b", listed, re.MULTILINE)
        status, told, _ = run(monkeypatch, capsys, name, "--help")
        assert (status, f"graphql-server {name}" in told) == (0, True)


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["serve", "--nothing"], ["doctor", "--grace", "x"]])
def test_a_command_that_does_not_exist_is_status_2_and_how_to_use_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    status, _, errors = run(monkeypatch, capsys, *arguments)
    assert status == 2
    assert errors.startswith("usage: graphql-server")


def test_schema_prints_the_schema_and_check_tells_whether_a_file_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, printed, _ = run(monkeypatch, capsys, "schema")
    assert status == 0
    assert "saveFix" in build_schema(printed, assume_valid=True).mutation_type.fields  # pyright: ignore[reportOptionalMemberAccess]
    file = tmp_path / "schema.graphql"
    file.write_text(printed, encoding="utf-8")
    assert run(monkeypatch, capsys, "schema", "--check", str(file)) == (0, "", "")
    for stale in (f"{printed}# more\n".encode(), b"\xff"):
        file.write_bytes(stale)
        status, output, errors = run(monkeypatch, capsys, "schema", "--check", str(file))
        assert (status, output) == (1, "")
        assert re.fullmatch(r"graphql-server: [^\n]+ is stale[^\n]+\n", errors)
    missing = run(monkeypatch, capsys, "schema", "--check", str(tmp_path / "missing"))
    assert_one_line(missing, str(tmp_path / "missing"))


def test_migrate_says_what_it_applies_and_nothing_the_second_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"sqlite://{tmp_path / 'fresh.db'}"
    applied = "".join(f"{name}\n" for name in migrations.MIGRATIONS)
    done = "The database is up to date.\n"
    assert run(monkeypatch, capsys, "migrate", DATABASE_URL=url) == (0, applied + done, "")
    assert run(monkeypatch, capsys, "migrate", DATABASE_URL=url) == (0, done, "")


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


# Commands that listen


STARTED = "Started server process"


def slowly(process: Process) -> tuple[socket.socket, bytes]:
    """Begin to upload a photo, and keep its second half back when the server has asked for it."""
    operations = json.dumps(
        {
            "query": SAVE_FIX,
            "variables": {"input": {"file": None, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}},
        }
    )
    request = httpx.Request(
        "POST",
        f"{process.url}/graphql",
        data={"operations": operations, "map": '{"0": ["variables.input.file"]}'},
        files={"0": ("photo.jpg", photo(size=(640, 480)))},
        headers={"authorization": f"Bearer {TOKEN}", "graphql-require-preflight": "1", "connection": "close"}
        | {"expect": "100-continue"},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.read()
    connection = socket.create_connection(("127.0.0.1", process.port), 30)
    connection.sendall(f"POST /graphql HTTP/1.1\r\n{head}\r\n".encode())
    assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body[: len(body) // 2])
    return connection, body[len(body) // 2 :]


def refuses(process: Process) -> bool:
    """Whether a further connection is refused at once, and left to nobody."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", process.port)) == errno.ECONNREFUSED


def test_after_sigterm_requests_in_flight_are_finished_no_others_taken_and_the_status_is_0(
    database_url: str, engine: str, tmp_path: Path
) -> None:
    workers = "2" if engine == "mysql" else "1"
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        with started(tmp_path, "serve", WORKERS=workers, **settings) as process:
            server = server_of(process, settings)
            server.save(photo())
            uploads = [slowly(process) for _ in range(4)]
            process.popen.terminate()
            wait_until(lambda: refuses(process))
            assert process.popen.poll() is None
            for connection, rest in uploads:
                connection.sendall(rest)
            answers = [b"".join(iter(lambda c=connection: c.recv(65_536), b"")) for connection, _ in uploads]
            for connection, _ in uploads:
                connection.close()
            assert process.popen.wait(20) == 0
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert orjson.loads(body)["data"]["saveFix"]["image"]["width"] == 640
    assert len(files_in(tmp_path / "media")) == 5
    assert_whole(settings_for(database_url, tmp_path / "media"))
    assert process.errors.read_text() == ""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_after_sigterm_parts_are_sent_to_the_last_and_who_follows_is_told_to_come_again(
    database_url: str, tmp_path: Path
) -> None:
    """One of them reads nothing, and is waited for as long as SHUTDOWN_SECONDS says."""
    query = f"{{ images(first: 1000) {{ nodes @stream(initialCount: 50) {{ {MUCH} }} }} }}"
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        with started(tmp_path, "serve", SHUTDOWN_SECONDS="4", **settings) as process:
            server = server_of(process, settings)
            put_images(server, untrained_pk(server), [{"original_file_name": f"{at}.jpg"} for at in range(1000)])
            with (
                parting(server, query) as parted,
                parting(server, query),
                streaming(server, SSE) as stream,
                streaming(server, MULTIPART) as multipart,
                following(server) as client,
            ):
                pieces = parted.iter_bytes()
                came = next(pieces)
                process.popen.terminate()
                process.await_line("Shutting down")
                came += b"".join(pieces)
                assert len(merged(parts_of(came)).data["images"]["nodes"]) == 1000
                assert client.closed()[0] == 1001
                assert list(events(stream)) == []
                assert [part["errors"][0]["extensions"]["code"] for part in parts(multipart)] == ["SERVER_STOPPING"]
                assert process.popen.wait(20) == 0
            assert [line for line in process.log() if line["level"] == "error"] == []
    assert process.errors.read_text() == ""


def test_the_demo_starts_on_an_empty_folder_and_keeps_its_data_at_the_second_start(tmp_path: Path) -> None:
    query = "{ datasets { nodes { title isUntrained images { nodes { pk url modelDegree userFixDegree } } } } }"
    found: list[Any] = []
    tokens: list[str] = []
    for _ in range(2):
        with started(tmp_path, "demo", "--folder", str(tmp_path / "demo")) as process:
            (address,) = re.findall(r"http://\S+/graphql#token=\S+", process.output.read_text())[-1:]
            url, _, token = address.partition("/graphql#token=")
            assert url == process.url
            server = dataclasses.replace(server_of(process, settings_of("sqlite://x", tmp_path / "x", "")), token=token)
            found.append(server.data(query)["datasets"]["nodes"])
            assert server.get(found[-1][0]["images"]["nodes"][0]["url"]).headers["content-type"].startswith("image/")
            assert server.get("/graphql", accept="text/html").headers["content-type"].startswith("text/html")
            server.token = "another"
            assert server.codes(query) == ["UNAUTHENTICATED"]
            assert process.terminate() == 0
            tokens.append(token)
    assert [dataset["isUntrained"] for dataset in found[0]] == [False, True]
    images = [[image["pk"] for dataset in each for image in dataset["images"]["nodes"]] for each in found]
    assert images[0] == images[1] != []
    fixes = {image["userFixDegree"] for dataset in found[0] for image in dataset["images"]["nodes"]}
    assert 0 in fixes
    assert len(fixes) > 1
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_a_demo_that_listens_everywhere_names_an_address_that_a_browser_opens(
    tmp_path: Path, host: str, shown: str
) -> None:
    with started(tmp_path, "demo", "--folder", str(tmp_path / "demo"), HOST=host) as process:
        (address,) = re.findall(r"    (http://\S+)#token=", process.output.read_text())
        assert address == f"http://{shown}:{process.port}/graphql"


def test_a_host_of_ipv6_stands_in_brackets_before_its_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with started(tmp_path, "media", "--plain", HOST="::", MEDIA_ROOT=str(tmp_path)) as process:
        assert process.await_line("listening")["address"] == f"http://[::]:{process.port}"
    given = {"HOST": "2001:db8::1", "MEDIA_ROOT": str(tmp_path)}  # which no machine has
    assert_one_line(run(monkeypatch, capsys, "media", "--plain", **given), "Cannot listen on [2001:db8::1]:")


@pytest.mark.parametrize("name", ["media", "demo-users"])
@pytest.mark.parametrize("port", ["0", "65536", "99999", "http"])
def test_a_port_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str], name: str, port: str
) -> None:
    result = run(monkeypatch, capsys, name, "--port", port, **environ, DEMO_TOKEN=TOKEN)
    assert_one_line(result, "--port", port, "65535")


def test_media_of_a_folder_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    result = run(monkeypatch, capsys, "media", "--plain", **{**environ, "MEDIA_ROOT": "/no/such/folder"})
    assert_one_line(result, "MEDIA_ROOT", "/no/such/folder")


def test_a_second_demo_in_one_folder_is_one_line_that_says_what_to_do(
    demo: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = demo.settings.media_root.parent
    result = run(monkeypatch, capsys, "demo", "--folder", str(folder), PORT=str(free_port()))
    assert_one_line(result, str(folder), "--folder")
    assert demo.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}


def test_a_worker_that_dies_and_not_one_that_is_slow_is_replaced_and_tells_of_it_in_the_log(
    migrated_mysql: str, tmp_path: Path
) -> None:
    with serving_by_two(migrated_mysql, tmp_path) as (process, (worker, slow)):
        os.kill(slow, signal.SIGSTOP)
        time.sleep(6.5)  # uvicorn itself would replace it after five seconds and a half
        os.kill(slow, signal.SIGCONT)
        os.kill(worker, signal.SIGKILL)
        died = process.await_line("worker died and was replaced")
        process.await_line("Application startup complete", 3)
    assert (died["level"], died["pid"], died["status"]) == ("error", worker, -signal.SIGKILL)


def test_a_worker_that_cannot_start_is_tried_again_while_another_serves_and_without_one_the_status_is_1(
    new_mysql: str, tmp_path: Path
) -> None:
    asyncio.run(migrations.run(new_mysql, lambda name: None))
    with serving_by_two(new_mysql, tmp_path) as (process, workers):
        mysql.statements(new_mysql, "RENAME TABLE schema_migration TO hidden")
        os.kill(workers[0], signal.SIGKILL)
        assert process.await_line("worker cannot start")["level"] == "error"
        mysql.statements(new_mysql, "RENAME TABLE hidden TO schema_migration")
        process.await_line("Application startup complete", 3)
        mysql.statements(new_mysql, "RENAME TABLE schema_migration TO hidden")
        *_, replacement = (line["event"] for line in process.log() if line["event"].startswith(STARTED))
        for worker in (workers[1], int(re.findall(r"\d+", replacement)[-1])):
            os.kill(worker, signal.SIGKILL)
        assert process.popen.wait(30) == 1


@contextmanager
def serving_by_two(url: str, folder: Path) -> Generator[tuple[Process, list[int]]]:
    with (
        users_listening() as users,
        started(folder, "serve", WORKERS="2", **settings_of(url, folder / "media", users)) as process,
    ):
        workers = [int(re.findall(r"\d+", process.await_line(STARTED, at)["event"])[-1]) for at in (1, 2)]
        process.await_line("Application startup complete", 2)
        yield process, workers


def test_workers_end_with_their_supervisor_so_that_a_server_can_be_started_anew(
    migrated_mysql: str, tmp_path: Path
) -> None:
    with serving_by_two(migrated_mysql, tmp_path) as (process, _):
        process.popen.kill()
        process.popen.wait(30)
        assert process.await_line("supervisor died", 2)["pid"] == process.popen.pid
        wait_until(lambda: is_free(process.port))


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


def test_the_demos_user_server_knows_one_token(tmp_path: Path) -> None:
    with started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN) as process:
        asked = [
            httpx.post(
                f"{process.url}/authenticate",
                headers={"authorization": f"Bearer {token}"},
                verify=False,
                trust_env=False,
            )
            for token in (TOKEN, "another")
        ]
    assert [answer.status_code for answer in asked] == [200, 401]


def test_the_demos_user_server_logs_as_the_settings_say(tmp_path: Path) -> None:
    with (
        started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN, LOG_FORMAT="text") as told,
        started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN, LOG_LEVEL="error") as silent,
    ):
        pass
    assert f"listening address={told.url}" in told.output.read_text()
    assert silent.output.read_text() == ""
