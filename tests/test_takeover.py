"""A predecessor's database is taken over with every row, key and file."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests import mysql, predecessor
from tests.holdings import ask, files_in
from tests.migrating import DATASETS, assert_both_migrate, check, migrate, migrate_after_many_cuts, start, tables
from tests.photos import photo
from tests.servers import Server, running, settings_for
from tests.together import CREATE, REMOVE

IMAGES = """{ images { nodes {
  pk dataset { pk } originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree
  url contentType width height byteSize sha256 createdAt savedBy { pk }
} } }"""
DATASET_ROWS = "SELECT pk, title FROM dataset_info ORDER BY pk"
IMAGE_ROWS = """
SELECT pk, dataset_info_pk, original_file_name, uuid_file_name, exif_degree, model_degree, confidence, user_fix_degree
FROM image_info ORDER BY pk"""


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
        for pk in predecessor.IMAGES:
            assert server.data(REMOVE, {"pk": pk})["removeImage"]["image"] == {"pk": pk}
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
