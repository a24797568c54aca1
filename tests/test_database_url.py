"""A database that cannot be used: one line that says why and what to do, without the password."""

import socket
import time
from pathlib import Path

import pytest

from graphql_server import database_url
from tests import mysql
from tests.commands import Run, assert_one_line


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
    run: Run,
    environ: dict[str, str],
    mysql_server: str,
    name: str,
    url: str,
) -> None:
    place = mysql_server.rpartition("@")[2].partition("/")[0]
    began = time.monotonic()
    result = run(name, **{**environ, "DATABASE_URL": url.format(place=place)})
    assert_one_line(result, "DATABASE_URL")
    assert "wrong-password" not in "".join(result[1:])
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["serve", "migrate", "doctor"])
def test_a_database_that_takes_a_connection_and_says_nothing_is_one_line_in_time(
    monkeypatch: pytest.MonkeyPatch, run: Run, environ: dict[str, str], name: str
) -> None:
    monkeypatch.setattr(database_url, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://app:apppw@127.0.0.1:{silent.getsockname()[1]}/app"
        result = run(name, **{**environ, "DATABASE_URL": url})
    assert_one_line(result, "DATABASE_URL", "no answer within 0.5 seconds")


def test_a_database_that_is_not_migrated_is_one_line_that_says_what_to_do(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "fresh.db").touch()
    fresh = {**environ, "DATABASE_URL": f"sqlite://{tmp_path / 'fresh.db'}"}
    assert_one_line(run("serve", **fresh), "graphql-server migrate")


@pytest.mark.parametrize("name", ["serve", "doctor"])
def test_a_path_of_sqlite_that_is_mistyped_is_one_line_and_makes_no_file(
    run: Run,
    environ: dict[str, str],
    tmp_path: Path,
    name: str,
) -> None:
    file = tmp_path / "mistyped.db"
    result = run(name, **{**environ, "DATABASE_URL": f"sqlite://{file}"})
    assert_one_line(result, "DATABASE_URL", str(file), "graphql-server migrate")
    assert not file.exists()


@pytest.mark.parametrize("place", ["missing/test.db", "."])
def test_a_file_of_sqlite_that_cannot_be_opened_is_one_line_that_names_it_and_says_what_to_do(
    run: Run, tmp_path: Path, place: str
) -> None:
    file = str(tmp_path / place)
    result = run("migrate", DATABASE_URL=f"sqlite://{file}")
    assert_one_line(result, "DATABASE_URL", file, "make its folder")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite://:memory:"])
def test_sqlite_without_a_file_is_told_to_have_one(run: Run, environ: dict[str, str], url: str) -> None:
    for name in ("serve", "migrate"):
        assert_one_line(run(name, **{**environ, "DATABASE_URL": url}), "DATABASE_URL", "sqlite://")


def test_a_password_that_is_not_encoded_is_told_how_to_be(run: Run, environ: dict[str, str]) -> None:
    for password in ("a?b", "a/b", "a#b"):
        result = run("serve", **{**environ, "DATABASE_URL": f"mysql://app:{password}@db/app"})
        assert_one_line(result, "DATABASE_URL", "%3F", "password")
        assert password not in result[2]


def test_a_password_of_any_letters_is_the_one_that_mysql_knows(run: Run, new_mysql: str) -> None:
    for password in ("pä", "p€", "비밀번호", "a/b?c#d@e:f[g]%"):
        with mysql.account(new_mysql, password=password) as name:
            mysql.grant(new_mysql, name, "ALL")
            url = mysql.address_for(name, new_mysql, password)
            assert run("migrate", DATABASE_URL=url)[::2] == (0, ""), password
