"""What the database complains of: clients are told what it means for them, and the log what is to be done."""

import asyncio
import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from graphql_server.app import opened
from graphql_server.errors import DatabaseUnavailable
from tests import mysql
from tests.chaos.mysql import stranger
from tests.front_door import codes
from tests.holdings import ask, assert_whole
from tests.photos import photo
from tests.rows import put_images, untrained_pk
from tests.servers import Server, running, settings_for
from tests.together import asking, at_once
from tests.waiting import wait_until

INTERNAL, UNAVAILABLE, TIMED_OUT = "INTERNAL_SERVER_ERROR", "DATABASE_UNAVAILABLE", "OPERATION_TIMED_OUT"
RUNNING = "SELECT COUNT(*) FROM information_schema.processlist"
LIST = "{ images { nodes { pk } } }"
# By its number in MySQL: what the client is told, and what the log begins and ends with.
TOLD = {
    1021: (UNAVAILABLE, "database unavailable", "make room"),
    1038: (UNAVAILABLE, "database unavailable", "more memory"),
    1040: (UNAVAILABLE, "database unavailable", "limit of connections"),
    1045: (UNAVAILABLE, "database unavailable", "password"),
    1053: (UNAVAILABLE, "database unavailable", ""),
    1054: (INTERNAL, "database unfit", "graphql-server migrate"),
    1114: (UNAVAILABLE, "database unavailable", "make room"),
    1142: (INTERNAL, "privilege missing", "grant"),
    1146: (INTERNAL, "database unfit", "graphql-server migrate"),
    1153: (INTERNAL, "database unfit", "max_allowed_packet"),
    1203: (UNAVAILABLE, "database unavailable", "limit of connections"),
    1226: (UNAVAILABLE, "database unavailable", "limit of connections"),
    1290: (UNAVAILABLE, "database unavailable", "primary"),
    1317: (UNAVAILABLE, "database unavailable", ""),
    1461: (UNAVAILABLE, "database unavailable", "max_prepared_stmt_count"),
    1836: (UNAVAILABLE, "database unavailable", "primary"),
    2013: (UNAVAILABLE, "database unavailable", ""),
    3024: (TIMED_OUT, "statement too slow", "index"),
    3098: (INTERNAL, "database unfit", "Group Replication"),
    4031: (UNAVAILABLE, "database unavailable", ""),
    9999: (INTERNAL, "database unfit", "manual"),
}


@contextmanager
def limited(url: str, most: int) -> Generator[tuple[str, str]]:
    """The database's address for a user who may have so many connections, and the user's name."""
    with mysql.account(url, f"WITH MAX_USER_CONNECTIONS {most}") as name:
        mysql.grant(url, name, "ALL")
        yield mysql.address_for(name, url), name


@contextmanager
def complaining(server: Server, number: int) -> Generator[None]:
    """Have MySQL answer this error to whoever inserts an image."""
    signal = f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'what went wrong'"
    ask(server.settings.database_url, f"CREATE TRIGGER complaint BEFORE INSERT ON image_info FOR EACH ROW {signal}")
    try:
        yield
    finally:
        ask(server.settings.database_url, "DROP TRIGGER complaint")


@pytest.mark.parametrize("engine", ["mysql"])
def test_each_error_of_the_database_is_told_as_what_it_is(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for number, (code, event, advice) in TOLD.items():
        with complaining(server, number):
            capsys.readouterr()
            (error,) = server.upload(photo())["errors"]
        assert (number, error["extensions"]["code"]) == (number, code)
        assert "what went wrong" not in error["message"]
        (line,) = [line for line in capsys.readouterr().out.splitlines() if event in line]
        assert f"{number} what went wrong" in line
        assert advice in line.partition("advice=")[2]
    assert_whole(server.settings)
    server.save(photo())


@pytest.mark.parametrize("table", ["dataset_info", "image_info"])
def test_a_table_that_is_missing_makes_the_server_unready_until_it_is_there(
    server: Server, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(server.settings.database_url, f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        (error,) = server.result(f"{{ {'datasets' if table == 'dataset_info' else 'images'} {{ nodes {{ pk }} }} }}")[
            "errors"
        ]
        assert error["extensions"]["code"] == INTERNAL
        assert table not in error["message"]
        assert server.get("/readyz").json() == {"status": "unavailable", "failing": ["database"]}
        assert re.search(r"database unfit.*graphql-server migrate", capsys.readouterr().out)
    finally:
        ask(server.settings.database_url, f"ALTER TABLE elsewhere RENAME TO {table}")
    assert server.get("/readyz").status_code == 200
    assert codes(server.result(LIST)) == []


def test_a_column_that_is_missing_is_no_outage(server: Server) -> None:
    url = server.settings.database_url
    ask(url, "ALTER TABLE image_info RENAME COLUMN sha256 TO elsewhere")
    try:
        assert codes(server.result("{ images { nodes { sha256 } } }")) == [INTERNAL]
    finally:
        ask(url, "ALTER TABLE image_info RENAME COLUMN elsewhere TO sha256")
    assert codes(server.result("{ images { nodes { sha256 } } }")) == []


@pytest.mark.parametrize("engine", ["mysql"])
def test_a_query_that_the_database_itself_ends_for_its_length_is_told_so_and_keeps_its_connection(
    server: Server,
) -> None:
    url, media_root = server.settings.database_url, server.settings.media_root
    with running(settings_for(url, media_root, database_seconds=2.0, database_pool=1)) as impatient:
        connection = f"{RUNNING} WHERE db = DATABASE()"
        assert codes(impatient.result(LIST)) == []
        before = ask(url, connection)
        with stranger(url) as other:
            other.run("LOCK TABLES image_info WRITE")
            assert codes(impatient.result(LIST)) == [TIMED_OUT]
            other.run("UNLOCK TABLES")
        assert codes(impatient.result(LIST)) == []
        assert ask(url, connection) == before


@pytest.mark.parametrize("engine", ["mysql"])
def test_queries_that_nobody_waits_for_any_more_are_ended_and_do_not_pile_up(server: Server) -> None:
    url, media_root = server.settings.database_url, server.settings.media_root
    running_ones = f"{RUNNING} WHERE db = DATABASE() AND info LIKE '%FROM image_info%' AND info NOT LIKE '%{RUNNING}%'"
    with running(settings_for(url, media_root, operation_seconds=0.3, database_pool=2)) as impatient:
        impatient.result(LIST)
        with stranger(url) as other, ThreadPoolExecutor(1) as apart:
            other.run("LOCK TABLES image_info WRITE")
            waves = [apart.submit(at_once, impatient, [asking(LIST)] * 4) for _ in range(6)]
            found = [0]
            while not waves[-1].done():
                found += ask(url, running_ones)[0]
            other.run("UNLOCK TABLES")
        assert [codes(answer) for wave in waves for answer in wave.result()] == [[TIMED_OUT]] * 24
        assert 0 < max(found) <= 2
        wait_until(lambda: codes(impatient.result(LIST)) == [])


@pytest.mark.parametrize("engine", ["mysql"])
def test_a_row_that_cannot_be_read_spoils_no_other_request(server: Server) -> None:
    put_images(server, untrained_pk(server), [{"created_at": "2026-01-31 00:00:00"}])
    with stranger(server.settings.database_url) as other:
        other.run("SET sql_mode = 'ALLOW_INVALID_DATES'")
        other.run("UPDATE image_info SET created_at = '2026-02-31 00:00:00'", "COMMIT")
        for _ in range(5):
            assert codes(server.result("{ images { nodes { createdAt } } }")) == [INTERNAL]
            assert codes(server.result(LIST)) == []
        other.run("UPDATE image_info SET created_at = NULL", "COMMIT")


@pytest.mark.parametrize("engine", ["sqlite"])
def test_statements_of_sqlite_that_nobody_waits_for_any_more_are_ended(database_url: str, media_root: Path) -> None:
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT MAX(x) FROM n"

    async def ask_in_vain() -> None:
        async with opened(settings_for(database_url, media_root, database_seconds=1.0)) as resources:
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await resources.album.database.fetch(endless)
                assert len(await resources.album.database.fetch("SELECT 1")) == 1

    asyncio.run(ask_in_vain())


@pytest.mark.parametrize("engine", ["mysql"])
def test_who_is_refused_one_more_connection_waits_for_those_that_there_are(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        limited(server.settings.database_url, 2) as (url, _),
        running(settings_for(url, server.settings.media_root)) as narrow,
        stranger(server.settings.database_url) as other,
        ThreadPoolExecutor(1) as apart,
    ):
        other.run("LOCK TABLES image_info WRITE")
        answers, logged = apart.submit(at_once, narrow, [asking(LIST)] * 100, clients=20), list[str]()
        try:
            wait_until(lambda: is_refused(logged, capsys))
        finally:
            other.run("UNLOCK TABLES")
        assert [codes(answer) for answer in answers.result()] == [[]] * 100


def is_refused(logged: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    logged.append(capsys.readouterr().out)
    return re.search(r"no further connection.*max_user_connections", "".join(logged)) is not None


@pytest.mark.parametrize("engine", ["mysql"])
def test_who_was_refused_one_more_connection_has_it_once_there_is_room(database_url: str, media_root: Path) -> None:
    with limited(database_url, 1) as (url, name):

        async def wait() -> object:
            async with opened(settings_for(url, media_root)) as resources, resources.album.database.engine.session():
                waiting = asyncio.create_task(resources.album.database.fetch("SELECT 1"))
                await asyncio.sleep(0.3)
                await asyncio.to_thread(ask, database_url, f"ALTER USER '{name}'@'%' WITH MAX_USER_CONNECTIONS 2")
                return [*await waiting]

        assert asyncio.run(wait()) == [(1,)]


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_damaged_file_of_sqlite_is_told_as_such(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.save(photo())
    path = Path(server.settings.database_url.removeprefix("sqlite://"))
    ask(server.settings.database_url, "PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes(range(256)) * 200)
    (error,) = server.upload(photo())["errors"]
    assert error["extensions"]["code"] == INTERNAL
    assert re.search(r"database unfit.*from a backup", capsys.readouterr().out)
