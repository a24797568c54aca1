"""What `graphql-server doctor` finds wrong with datasets, images and tallies, and what it repairs of that."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from graphql_server.doctor import run as run_doctor
from graphql_server.images import TABLE
from tests.doctor import HOLDS, MEASURED, Doctor, place, sql
from tests.photos import photo
from tests.servers import Server
from tests.together import REMOVE

FORGET = "UPDATE image_info SET content_type = NULL, width = NULL, height = NULL, byte_size = NULL, sha256 = NULL"


def test_a_system_in_use_is_healthy(server: Server, doctor: Doctor) -> None:
    first, *_ = [server.save(photo(seed=seed)) for seed in range(4)]
    server.data('mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }')
    server.save(photo("PNG", seed=5))
    server.data(REMOVE, {"pk": first["pk"]})
    outcome = doctor()
    assert (outcome.status, outcome.wrong) == (0, HOLDS)
    assert outcome.examined == [2, 4, 4, 4, 4, 0, 3]
    assert outcome.errors == ""
    assert "notes" not in outcome.text


def test_a_fresh_system_is_healthy(doctor: Doctor) -> None:
    outcome = doctor("--repair")
    assert (outcome.status, outcome.wrong, outcome.examined) == (0, HOLDS, [1, 0, 0, 0, 0, 0, 2])


def test_no_untrained_dataset_is_found_and_one_is_opened(server: Server, doctor: Doctor, database_url: str) -> None:
    sql(database_url, "UPDATE dataset_info SET untrained = NULL")
    outcome = doctor()
    assert (outcome.status, outcome.wrong["exactly one dataset is untrained"]) == (1, 1)
    assert "no dataset is untrained" in outcome.text
    assert sql(database_url, "SELECT COUNT(*) FROM dataset_info") == [(1,)]
    assert doctor("--repair").status == 0
    assert sql(database_url, "SELECT title, untrained FROM dataset_info ORDER BY pk")[1:] == [("untrained", 1)]
    assert server.save(photo())["dataset"]["isUntrained"]
    assert doctor().wrong == HOLDS


def test_of_several_doctors_at_once_one_opens_an_untrained_dataset_and_none_fails(
    database_url: str, media_root: Path
) -> None:
    media_root.mkdir(exist_ok=True)
    sql(database_url, "UPDATE dataset_info SET untrained = NULL")

    said: list[str] = []

    async def repair() -> list[int]:
        runs = (
            run_doctor(database_url, media_root, repair=True, grace_seconds=0, max_pixels=1, say=said.append)
            for _ in range(4)
        )
        return await asyncio.gather(*runs)

    assert asyncio.run(repair()) == [0] * 4, said
    assert sql(database_url, "SELECT COUNT(*) FROM dataset_info WHERE untrained = 1") == [(1,)]


def test_two_untrained_datasets_are_found_and_not_touched(doctor: Doctor, database_url: str) -> None:
    ((first,),) = sql(database_url, "SELECT pk FROM dataset_info")
    on_table = " ON dataset_info" if database_url.startswith("mysql") else ""
    sql(database_url, f"DROP INDEX dataset_info_untrained{on_table}")
    try:
        sql(database_url, "INSERT INTO dataset_info (title, untrained) VALUES ('untrained', 1)")
        _, (second,) = sql(database_url, "SELECT pk FROM dataset_info ORDER BY pk")
        outcome = doctor("--repair")
        assert (outcome.status, outcome.wrong["exactly one dataset is untrained"]) == (1, 1)
        assert f"dataset {second} is untrained beside dataset {first}" in outcome.text
        assert sql(database_url, "SELECT COUNT(*) FROM dataset_info WHERE untrained = 1") == [(2,)]
    finally:
        sql(
            database_url,
            f"DELETE FROM dataset_info WHERE pk <> {first}",
            "CREATE UNIQUE INDEX dataset_info_untrained ON dataset_info (untrained)",
        )


def test_an_image_without_its_dataset_is_found(server: Server, doctor: Doctor, database_url: str) -> None:
    image = server.save(photo())
    sql(database_url, "UPDATE image_info SET dataset_info_pk = 900")
    outcome = doctor()
    assert (outcome.status, outcome.wrong["every image has its dataset"]) == (1, 1)
    assert f"image {image['pk']}: there is no dataset 900" in outcome.text


@pytest.mark.parametrize("instead", ["nothing", "a folder", "a link"])
def test_a_missing_file_is_found_and_its_row_stays(
    server: Server, doctor: Doctor, media_root: Path, instead: str
) -> None:
    image, _ = server.save(photo(seed=1)), server.save(photo(seed=2))
    path = place(media_root, image)
    moved = path.rename(media_root / "elsewhere")
    if instead == "a folder":
        path.mkdir()
    elif instead == "a link":
        path.symlink_to(moved)
    for arguments in ([], ["--repair"]):
        outcome = doctor(*arguments)
        assert outcome.status == 1
        assert outcome.wrong == {**HOLDS, "every image has its file": 1}
        assert f"image {image['pk']}: {path.relative_to(media_root)} is missing" in outcome.text
    assert server.data("{ images { totalCount } }") == {"images": {"totalCount": 2}}


@pytest.mark.parametrize("fault", ["a flipped bit", "a lost end"])
def test_a_changed_file_is_found_and_never_measured_anew(
    server: Server, doctor: Doctor, media_root: Path, database_url: str, fault: str
) -> None:
    image, _ = server.save(photo(seed=1)), server.save(photo(seed=2))
    path = place(media_root, image)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    size = len(content)
    path.write_bytes(content if fault == "a flipped bit" else content[:-2])
    said = "another hash than was recorded" if fault == "a flipped bit" else f"{size - 2} bytes instead of {size}"
    sql(database_url, "UPDATE image_info SET content_type = NULL, width = NULL, height = NULL")
    for arguments in ([], ["--repair"]):
        outcome = doctor(*arguments)
        assert (outcome.status, outcome.wrong) == (1, {**HOLDS, "every file is as it was saved": 1})
        assert f"image {image['pk']}: {path.relative_to(media_root)} has {said}" in outcome.text
    kept = sql(database_url, f"SELECT {MEASURED} FROM image_info ORDER BY pk")
    assert kept[0] == (None, None, None, image["byteSize"], image["sha256"])
    assert kept[1][:3] == ("image/jpeg", 64, 48)


def test_rows_of_the_predecessor_are_measured_by_repair_and_nothing_else_of_them_changes(
    server: Server, doctor: Doctor, media_root: Path, database_url: str
) -> None:
    for seed, kind in enumerate(["JPEG", "PNG", "WEBP"]):
        server.save(photo(kind, size=(80 + seed, 60), seed=seed, orientation=6), exifDegree=180)
    before = sql(database_url, "SELECT * FROM image_info ORDER BY pk")
    sql(database_url, FORGET, f"UPDATE image_info SET width = 7 WHERE pk = {before[1][0]}")
    outcome = doctor()
    assert (outcome.status, outcome.wrong) == (0, HOLDS)
    assert "3 images without size and hash" in outcome.text
    assert outcome.examined[3] == 0
    outcome = doctor("--repair")
    assert (outcome.status, outcome.wrong) == (0, HOLDS)
    assert "3 images whose size and hash were filled in" in outcome.text
    assert sql(database_url, "SELECT width FROM image_info ORDER BY pk") == [(80,), (7,), (82,)]
    sql(database_url, "UPDATE image_info SET width = 81 WHERE width = 7")
    assert sql(database_url, "SELECT * FROM image_info ORDER BY pk") == before
    outcome = doctor()
    assert (outcome.status, outcome.examined[3]) == (0, 3)
    assert "notes" not in outcome.text


def test_a_predecessors_file_that_is_no_picture_gets_size_and_hash_alone(
    server: Server, doctor: Doctor, media_root: Path, database_url: str
) -> None:
    image, content = server.save(photo()), photo("GIF")
    place(media_root, image).write_bytes(content)
    sql(database_url, FORGET)
    assert doctor("--repair").status == 0
    measured = (None, None, None, len(content), hashlib.sha256(content).hexdigest())
    for arguments in ([], ["--repair"]):
        outcome = doctor(*arguments)
        assert outcome.status == 0
        assert "1 images that cannot be decoded" in outcome.text
        assert sql(database_url, f"SELECT {MEASURED} FROM image_info") == [measured]


def test_what_a_server_saved_that_knew_of_no_tallies_is_counted_by_repair(
    server: Server, doctor: Doctor, database_url: str
) -> None:
    """As servers of an older version do beside a newer one's."""
    image = server.save(photo())
    columns = ", ".join(column for column in TABLE.columns if column not in ("pk", "uuid_file_name"))
    copy = f"SELECT 'other.jpg', {columns} FROM image_info WHERE pk = {image['pk']}"
    sql(database_url, f"INSERT INTO image_info (uuid_file_name, {columns}) {copy}")
    count = "{ images { totalCount } untrained { images { totalCount } } }"
    assert server.data(count) == {"images": {"totalCount": 1}, "untrained": {"images": {"totalCount": 1}}}
    assert doctor("--repair").wrong["every tally counts its images"] == 2
    assert server.data(count) == {"images": {"totalCount": 2}, "untrained": {"images": {"totalCount": 2}}}
    server.save(photo(seed=1))
    assert server.data(count) == {"images": {"totalCount": 3}, "untrained": {"images": {"totalCount": 3}}}


def test_tallies_that_are_wrong_are_found_and_mended(server: Server, doctor: Doctor, database_url: str) -> None:
    kept, gone = server.save(photo(seed=1)), server.save(photo(seed=2))
    count = "{ images { totalCount } untrained { images { totalCount } } }"
    sql(database_url, f"DELETE FROM image_info WHERE pk = {gone['pk']}")
    counted = server.data(count)
    assert counted == {"images": {"totalCount": 2}, "untrained": {"images": {"totalCount": 2}}}
    outcome = doctor()
    assert (outcome.status, outcome.wrong["every tally counts its images"]) == (1, 2)
    assert f"dataset {kept['dataset']['pk']}: -1 images to count" in outcome.text
    assert "all datasets: -1 images to count" in outcome.text
    assert server.data(count) == counted
    assert "2 mended" in doctor("--repair").text
    assert server.data(count) == {"images": {"totalCount": 1}, "untrained": {"images": {"totalCount": 1}}}
    assert doctor("--repair").wrong["every tally counts its images"] == 0
