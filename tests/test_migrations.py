"""A fresh database is made, and a predecessor's is taken over with every row, key and file."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphql_server import migrations
from graphql_server.database import Database
from graphql_server.engines import Session
from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from graphql_server.errors import SettingsError
from tests import mysql, predecessor
from tests.holdings import ask, files_in
from tests.photos import photo
from tests.processes import PROJECT, environment
from tests.servers import Server, running, settings_for
from tests.together import CREATE

DATASETS = "{ datasets { nodes { pk title isUntrained createdAt sealedAt images { nodes { pk } } } } }"
IMAGES = """{ images { nodes {
  pk dataset { pk } originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree
  url contentType width height byteSize sha256 createdAt savedBy { pk }
} } }"""
DATASET_ROWS = "SELECT pk, title FROM dataset_info ORDER BY pk"
IMAGE_ROWS = """
SELECT pk, dataset_info_pk, original_file_name, uuid_file_name, exif_degree, model_degree, confidence, user_fix_degree
FROM image_info ORDER BY pk"""


def migrate(url: str) -> list[str]:
    """Migrate; gives the names of what was applied."""
    said: list[str] = []
    asyncio.run(migrations.run(url, said.append))
    return said


def check(url: str) -> None:
    async def open_and_check() -> None:
        database = await Database.open(url)
        try:
            await migrations.check(database)
        finally:
            await database.close()

    asyncio.run(open_and_check())


def tables(url: str) -> list[list[tuple[Any, ...]]]:
    """How the tables are made, column by column and key by key."""
    if url.startswith("sqlite"):
        return [ask(url, "SELECT name, sql FROM sqlite_master ORDER BY name")]
    views = {
        "columns": "table_name, column_name, column_type, is_nullable, collation_name",
        "statistics": "table_name, index_name, seq_in_index, column_name, non_unique",
        "table_constraints": "table_name, constraint_name, constraint_type",
    }
    select = "SELECT {1} FROM information_schema.{0} WHERE {2} = DATABASE() ORDER BY {1}"
    schema = {"table_constraints": "constraint_schema"}
    return [ask(url, select.format(view, names, schema.get(view, "table_schema"))) for view, names in views.items()]


@pytest.fixture
def new_database(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    return request.getfixturevalue("new_mysql") if engine == "mysql" else f"sqlite://{tmp_path / 'new.db'}"


def test_a_fresh_database_holds_an_empty_untrained_dataset_and_is_used_at_once(
    new_database: str, media_root: Path
) -> None:
    assert migrate(new_database) == list(migrations.MIGRATIONS)
    with running(settings_for(new_database, media_root)) as server:
        (dataset,) = server.data(DATASETS)["datasets"]["nodes"]
        assert (dataset["title"], dataset["isUntrained"], dataset["images"]["nodes"]) == ("untrained", True, [])
        assert server.save(photo())["dataset"]["pk"] == dataset["pk"]


def test_migrating_again_changes_nothing(new_database: str) -> None:
    migrate(new_database)
    made, rows = tables(new_database), ask(new_database, "SELECT * FROM dataset_info")
    assert migrate(new_database) == []
    assert (tables(new_database), ask(new_database, "SELECT * FROM dataset_info")) == (made, rows)


def test_a_database_that_is_not_migrated_is_refused(new_database: str) -> None:
    with pytest.raises(SettingsError, match="graphql-server migrate"):
        check(new_database)
    migrate(new_database)
    check(new_database)
    ask(new_database, "DELETE FROM schema_migration")
    with pytest.raises(SettingsError, match="graphql-server migrate"):
        check(new_database)


def test_two_processes_may_migrate_at_once(new_database: str) -> None:
    assert_both_migrate(new_database)
    assert ask(new_database, "SELECT title, untrained FROM dataset_info") == [("untrained", 1)]
    check(new_database)


def assert_both_migrate(url: str) -> None:
    started = [start(url) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    done = "The database is up to date."
    assert sorted(output.splitlines() for output, _ in said) == [[*migrations.MIGRATIONS, done], [done]]


def start(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "graphql_server", "migrate"],
        cwd=PROJECT,
        env=environment({"DATABASE_URL": url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class CutOff(Exception):
    pass


def cut_off_after(patch: pytest.MonkeyPatch, writes: int) -> None:
    """Let a session write so many times and fail at its next statement, as if the process had died there."""
    left = writes
    for session in (MySQLSession, SqliteSession):
        fetch = session.fetch

        async def limited(self: Any, sql: str, args: Sequence[Any] = (), fetch: Any = fetch) -> Any:
            nonlocal left
            if not left and "RELEASE_LOCK" not in sql:
                raise CutOff
            left -= sql.startswith(("ALTER", "INSERT", "REPLACE", "UPDATE", "CREATE INDEX", "CREATE UNIQUE"))
            return await fetch(self, sql, args)

        patch.setattr(session, "fetch", limited)


def migrate_after_many_cuts(url: str) -> int:
    """Migrate, cut off after one write or two, again and again until it is through; gives the cuts."""
    for cut in range(100):
        with pytest.MonkeyPatch.context() as patch:
            # Two as well, because of the writes that are kept only together.
            cut_off_after(patch, 1 + cut % 2)
            try:
                migrate(url)
            except CutOff:
                continue
            return cut
    raise AssertionError("no end")


def test_a_fresh_database_that_is_cut_off_at_any_write_is_finished_by_the_next_run(
    new_mysql: str, migrated_mysql: str
) -> None:
    assert migrate_after_many_cuts(new_mysql) >= 3
    check(new_mysql)
    assert ask(new_mysql, "SELECT title, untrained FROM dataset_info") == [("untrained", 1)]
    assert tables(new_mysql) == tables(migrated_mysql)


def test_on_sqlite_a_migration_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 'new.db'}"
    for cut in (1, 5, 11):
        with pytest.MonkeyPatch.context() as patch:
            cut_off_after(patch, cut)
            with pytest.raises(CutOff):
                migrate(url)
        assert tables(url) == [[]]


def test_a_migration_whose_connection_is_lost_says_so_and_can_be_run_again(new_mysql: str) -> None:
    async def lose(session: Session, engine: str) -> None:
        await session.fetch("KILL CONNECTION_ID()")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", {**migrations.MIGRATIONS, "9999_lost": lose})
        with pytest.raises(SettingsError, match="run it again"):
            migrate(new_mysql)
    assert migrate(new_mysql) == []


def test_images_that_an_earlier_version_saved_are_counted(new_database: str, media_root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        earlier = {name: step for name, step in migrations.MIGRATIONS.items() if name != "0004_constant_cost"}
        patch.setattr(migrations, "MIGRATIONS", earlier)
        migrate(new_database)
    for number in range(3):
        ask(
            new_database,
            "INSERT INTO image_info (dataset_info_pk, uuid_file_name, user_fix_degree) VALUES (1, ?, ?)",
            args=(f"{number}.jpg", 90 * number),
        )
    migrate(new_database)
    with running(settings_for(new_database, media_root)) as server:
        data = server.data(
            "{ images { totalCount } untrained { images { totalCount } } "
            "wrong: images(filter: {modelWasWrong: true}) { totalCount nodes { uuidFileName } } }"
        )
    assert data["images"] == data["untrained"]["images"] == {"totalCount": 3}
    assert data["wrong"] == {"totalCount": 2, "nodes": [{"uuidFileName": "1.jpg"}, {"uuidFileName": "2.jpg"}]}


# A predecessor's database


@pytest.fixture
def taken_over(new_mysql: str, media_root: Path) -> tuple[str, dict[str, bytes]]:
    """A predecessor's database after migrating, and its files."""
    files = predecessor.fill(new_mysql, media_root)
    migrate(new_mysql)
    return new_mysql, files


def assert_taken_over(url: str) -> None:
    """Every row is as the predecessor left it, but for images whose dataset was lost."""
    datasets, images = ask(url, DATASET_ROWS), ask(url, IMAGE_ROWS)
    kept = {pk: title for pk, title in datasets if pk in predecessor.TITLES}
    assert kept == predecessor.TITLES
    assert [pk for pk, *_ in images] == list(predecessor.IMAGES)
    for pk, dataset_pk, *others in images:
        was, *same = predecessor.IMAGES[pk]
        assert others == same
        assert dataset_pk == was if was else dataset_pk not in predecessor.TITLES
    assert ask(url, "SELECT pk FROM dataset_info WHERE untrained = 1") == [(predecessor.UNTRAINED,)]


def test_every_row_and_key_of_the_predecessor_is_kept_and_the_last_dataset_is_untrained(
    taken_over: tuple[str, dict[str, bytes]],
) -> None:
    assert_taken_over(taken_over[0])


def test_the_rows_and_files_of_the_predecessor_are_served(
    taken_over: tuple[str, dict[str, bytes]], media_root: Path
) -> None:
    url, files = taken_over
    with running(settings_for(url, media_root)) as server:
        datasets = server.data(DATASETS)["datasets"]["nodes"]
        titles = {pk: title or "" for pk, title in predecessor.TITLES.items()}
        assert {dataset["pk"]: dataset["title"] for dataset in datasets if dataset["pk"] in titles} == titles
        assert [dataset["pk"] for dataset in datasets if dataset["isUntrained"]] == [predecessor.UNTRAINED]
        images = server.data(IMAGES)["images"]["nodes"]
        assert [image["pk"] for image in images] == list(predecessor.IMAGES)
        for image in images:
            _, original, stored, *numbers = predecessor.IMAGES[image["pk"]]
            assert (image["originalFileName"], image["uuidFileName"]) == (original or "", stored)
            names = ("exifDegree", "modelDegree", "confidence", "userFixDegree")
            assert [image[name] for name in names] == numbers
            unknown = ("contentType", "width", "height", "byteSize", "sha256", "createdAt", "savedBy")
            assert [image[name] for name in unknown] == [None] * 7
        assert served(server, images) == files
    assert files_in(media_root) == files


def served(server: Server, images: list[dict[str, Any]]) -> dict[str, bytes]:
    """What is given at the images' addresses, by path."""
    found: dict[str, bytes] = {}
    for image in images:
        answer = server.get(image["url"])
        if answer.status_code == 200:
            found[f"{image['dataset']['pk']}/{image['uuidFileName']}"] = answer.content
            png = image["originalFileName"] == "png.jpg"
            assert answer.headers["content-type"] == ("image/png" if png else "image/jpeg")
    return found


def test_a_predecessors_database_takes_fixes_names_and_removals(
    taken_over: tuple[str, dict[str, bytes]], media_root: Path
) -> None:
    with running(settings_for(taken_over[0], media_root)) as server:
        image = server.save(photo(seed=99), "🍜" * 255)
        assert image["dataset"]["pk"] == predecessor.UNTRAINED
        assert image["pk"] > max(predecessor.IMAGES)
        assert image["originalFileName"] == "🍜" * 255
        assert server.codes(CREATE, {"title": "lunch"}) == ["CONFLICT"]
        assert server.codes(CREATE, {"title": "점심"}) == ["CONFLICT"]
        created = server.data(CREATE, {"title": "저녁 🍜"})["createDataset"]
        assert created["dataset"] == {"pk": predecessor.UNTRAINED, "title": "저녁 🍜"}
        removal = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } dataset { pk } } }"
        for pk in predecessor.IMAGES:
            assert server.data(removal, {"pk": pk})["removeImage"]["image"] == {"pk": pk}
        assert list(files_in(media_root)) == [f"{predecessor.UNTRAINED}/{image['uuidFileName']}"]


def test_images_whose_dataset_was_lost_are_found_in_one_that_says_so(
    taken_over: tuple[str, dict[str, bytes]],
) -> None:
    found = dict(
        ask(taken_over[0], "SELECT i.pk, d.title FROM image_info i JOIN dataset_info d ON d.pk = dataset_info_pk")
    )
    assert {pk: found[pk] for pk in (10, 11, 12, 13)} == {
        10: "recovered 77",
        11: "recovered 77",
        12: "recovered",
        13: "recovered",
    }


def test_a_predecessors_tables_end_up_as_those_of_a_fresh_database(
    taken_over: tuple[str, dict[str, bytes]], migrated_mysql: str
) -> None:
    assert tables(taken_over[0]) == tables(migrated_mysql)


def test_taking_over_again_changes_nothing(taken_over: tuple[str, dict[str, bytes]]) -> None:
    url = taken_over[0]
    before = [ask(url, f"SELECT * FROM {table} ORDER BY pk") for table in ("dataset_info", "image_info")]
    assert migrate(url) == []
    mysql.statements(url, "DELETE FROM schema_migration")
    migrate(url)
    assert [ask(url, f"SELECT * FROM {table} ORDER BY pk") for table in ("dataset_info", "image_info")] == before


def test_two_processes_may_take_over_at_once(new_mysql: str, media_root: Path) -> None:
    predecessor.fill(new_mysql, media_root)
    assert_both_migrate(new_mysql)
    assert_taken_over(new_mysql)


def test_a_takeover_that_is_cut_off_at_any_write_is_finished_by_the_next_run(
    new_mysql: str, media_root: Path, migrated_mysql: str
) -> None:
    predecessor.fill(new_mysql, media_root)
    assert migrate_after_many_cuts(new_mysql) >= 8
    check(new_mysql)
    assert_taken_over(new_mysql)
    assert tables(new_mysql) == tables(migrated_mysql)
    recovered = "SELECT COUNT(*) FROM dataset_info WHERE title LIKE 'recovered%'"
    assert ask(new_mysql, recovered) == [(2,)]


@pytest.mark.parametrize(
    ("titles", "untrained"),
    [
        ([], 1),
        (["untrained"], 1),
        (["Lunch"], 2),
        (["untrained", "Lunch"], 3),
        (["untrained", "untrained"], 2),
        (["untrained", None], 3),
        (["Untrained"], 2),
    ],
)
def test_the_last_dataset_is_untrained_if_it_is_called_so_and_otherwise_a_fresh_one(
    new_mysql: str, titles: list[str | None], untrained: int
) -> None:
    mysql.statements(new_mysql, *predecessor.TABLES)
    if titles:
        predecessor.insert(new_mysql, "dataset_info", list(enumerate(titles, start=1)))
    migrate(new_mysql)
    assert ask(new_mysql, "SELECT pk, title FROM dataset_info WHERE untrained = 1") == [(untrained, "untrained")]
    assert [title for (title,) in ask(new_mysql, "SELECT title FROM dataset_info ORDER BY pk")][: len(titles)] == titles


def fill_50_000(url: str) -> None:
    mysql.statements(url, *predecessor.TABLES, "INSERT INTO dataset_info (title) VALUES ('untrained')")
    row = "1, CONCAT('IMG_', n, '.jpg'), CONCAT(UUID(), '.jpg'), 0, 90, n / 50000, 0"
    digit = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4)"
    ten = "(SELECT 0 d" + "".join(f" UNION SELECT {n}" for n in range(1, 10)) + ")"
    numbers = (
        f"SELECT a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d n FROM {ten} a, {ten} b, {ten} c, {ten} e, {digit} f"
    )
    columns = (
        "dataset_info_pk, original_file_name, uuid_file_name, exif_degree, model_degree, confidence, user_fix_degree"
    )
    mysql.statements(url, f"INSERT INTO image_info ({columns}) SELECT {row} FROM ({numbers}) numbers")


def test_a_predecessor_of_50000_images_is_taken_over_in_seconds_even_by_a_process_that_is_killed(
    new_mysql: str, media_root: Path
) -> None:
    fill_50_000(new_mysql)
    process = start(new_mysql)
    while not ask(new_mysql, "SHOW TABLES LIKE 'schema_migration'"):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    began = time.monotonic()
    migrate(new_mysql)
    assert time.monotonic() - began < 30
    with running(settings_for(new_mysql, media_root)) as server:
        page = server.data("{ untrained { images(first: 1000) { totalCount nodes { pk originalFileName } } } }")
        assert page["untrained"]["images"]["totalCount"] == 50_000
        assert len(page["untrained"]["images"]["nodes"]) == 1_000
        server.save(photo())
