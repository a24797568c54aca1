"""Settings that are missing or wrong: one line that names each."""

from pathlib import Path

import pytest

from graphql_server.settings import setting
from tests.commands import FIELDS, Run, assert_one_line
from tests.servers import KEY

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
        "grpc://users",
        "grpc://users:",
        "http://my users/",
        "http://a;b/",
    ],
    "media_root": ["/no/such/folder", __file__],
    "media_url": [
        *("media", "ftp://media", "https://a..b", "https://:443"),
        *("/graphql", "/graphql/media"),
        *("/media?a", "/media#a", "/\\media", "/\t/media"),
        *("/{path}", "/media/%7Bdataset%7D", "/my media", "/media%00", "https://my media.example"),
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


@pytest.mark.parametrize("name", ["DATABASE_URL", "USER_SERVER_URL", "MEDIA_SIGNING_KEY"])
def test_a_setting_that_is_missing_or_empty_is_one_line_that_names_it(
    run: Run, environ: dict[str, str], name: str
) -> None:
    without = {key: value for key, value in environ.items() if key != name}
    assert_one_line(run("serve", **without), f"{name} is not set")
    assert_one_line(run("serve", **without, **{name: ""}), f"{name} is not set")


def test_a_media_folder_that_nothing_can_be_staged_in_is_one_line(run: Run, environ: dict[str, str]) -> None:
    (Path(environ["MEDIA_ROOT"]) / ".staging").write_bytes(b"in the way")
    result = run("serve", **environ)
    assert_one_line(result, "MEDIA_ROOT", "no folder that can be written to")
    assert "storage unavailable" not in result[1]


def test_all_settings_that_are_missing_are_named_at_once(run: Run) -> None:
    needed = ("DATABASE_URL", "USER_SERVER_URL", "MEDIA_SIGNING_KEY")
    assert_one_line(run("serve"), *(f"{name} is not set" for name in needed))


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_setting_is_one_line_that_names_it(run: Run, environ: dict[str, str], field: str) -> None:
    for value in WRONG.get(field, NO_NUMBER):
        result = run("serve", **{**environ, field.upper(): value})
        assert_one_line(result, field.upper())


@pytest.mark.parametrize("field", FIELDS)
def test_a_setting_that_is_no_text_is_one_line_that_says_so(run: Run, environ: dict[str, str], field: str) -> None:
    value = f"{environ.get(field.upper(), '')}\udcff"  # as Python gives what is no UTF-8
    assert_one_line(run("serve", **{**environ, field.upper(): value}), field.upper(), "UTF-8")


def test_a_number_of_more_digits_than_python_reads_is_told_what_it_must_be(run: Run, environ: dict[str, str]) -> None:
    digits = "9" * 5000
    assert_one_line(run("serve", **{**environ, "DATABASE_POOL": digits}), "must be a whole number from 1 to 1000")
    assert_one_line(run("serve", **{**environ, "METRICS": f"127.0.0.1:{digits}"}), "such as 127.0.0.1:9100")


def test_a_secret_that_is_wrong_is_not_repeated(run: Run, environ: dict[str, str]) -> None:
    for name, value in (("MEDIA_SIGNING_KEY", "a-short-secret"), ("DATABASE_URL", "postgres://app:a-short-secret@db/")):
        _, output, errors = run("serve", **{**environ, name: value})
        assert "a-short-secret" not in output + errors


def test_only_where_a_password_may_stand_is_told_how_to_write_one(run: Run, environ: dict[str, str]) -> None:
    result = run("serve", **{**environ, "USER_SERVER_URL": "http://[::1"})
    assert_one_line(result, "USER_SERVER_URL", "host name")
    assert "password" not in result[2]


def test_a_collector_of_traces_at_no_address_is_one_line(run: Run, environ: dict[str, str]) -> None:
    for url in ("collector:4318", "http://a..b:4318", "http://collector:99999", "http://c/\udcff"):
        result = run("serve", **environ, OTEL_EXPORTER_OTLP_ENDPOINT=url)
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
def test_a_path_for_pictures_that_the_server_needs_is_told_so(run: Run, environ: dict[str, str], path: str) -> None:
    result = run("serve", **{**environ, "MEDIA_URL": path})
    assert_one_line(result, f"MEDIA_URL='{path}'", "the server itself answers")


def test_sqlite_with_two_workers_is_one_line_that_says_why(run: Run, environ: dict[str, str]) -> None:
    assert_one_line(run("serve", **{**environ, "WORKERS": "2"}), "WORKERS", "SQLite")
