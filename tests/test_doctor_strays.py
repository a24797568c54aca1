"""Files that `graphql-server doctor` finds without an image: which it removes, and which it leaves alone."""

import asyncio
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from tests.doctor import HOLDS, Doctor, age, lay, place, run_apart
from tests.photos import photo
from tests.servers import Server

# Root reads and writes whatever it likes unless that is taken from it.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def test_a_stray_is_found_when_it_is_old_and_removed_by_repair(
    server: Server, doctor: Doctor, media_root: Path
) -> None:
    image = server.save(photo())
    kept = age(place(media_root, image))
    old, gone = lay(kept.with_name(f"{uuid4()}.jpg")), lay(media_root / "77" / f"{uuid4()}.webp")
    young = lay(kept.with_name(f"{uuid4()}.jpg"), seconds=60)
    outcome = doctor()
    assert (outcome.status, outcome.wrong) == (1, {**HOLDS, "every file has its image": 2})
    assert {str(path.relative_to(media_root)) in outcome.text for path in (old, gone)} == {True}
    assert young.name not in outcome.text
    assert old.exists()
    assert doctor("--grace", "10").wrong["every file has its image"] == 3
    outcome = doctor("--repair")
    assert (outcome.status, outcome.wrong["every file has its image"]) == (0, 2)
    assert "2 removed" in outcome.text
    assert [path.exists() for path in (kept, old, gone, young)] == [True, False, False, True]
    assert doctor().wrong == HOLDS


@pytest.mark.parametrize("ends", ["well", "in vain"])
def test_a_save_that_is_long_at_its_commit_keeps_its_file(
    server: Server,
    doctor: Doctor,
    media_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    ends: str,
) -> None:
    session = MySQLSession if engine == "mysql" else SqliteSession
    commit, began = session.commit, threading.Event()
    first = threading.Lock()

    async def slow(self: Any) -> None:
        if first.acquire(blocking=False):
            began.set()
            await asyncio.sleep(2)
            if ends == "in vain":
                raise OSError
        await commit(self)

    monkeypatch.setattr(session, "commit", slow)
    stray = lay(media_root / "77" / f"{uuid4()}.jpg")
    answers: list[dict[str, Any]] = []
    saving = threading.Thread(target=lambda: answers.append(server.upload(photo())))
    saving.start()
    assert began.wait(30)
    outcome = doctor("--repair", "--grace", "0")
    saving.join()
    assert outcome.status == 0
    assert not stray.exists()
    assert ("errors" in answers[0]) == (ends == "in vain")
    if ends == "well":
        assert place(media_root, answers[0]["data"]["saveFix"]["image"]).exists()
        assert outcome.wrong["every file has its image"] == 1
    assert doctor("--repair", "--grace", "0").status == 0
    assert doctor("--grace", "0").wrong == HOLDS


def test_what_was_staged_is_left_alone_while_it_is_young_and_removed_later(doctor: Doctor, media_root: Path) -> None:
    young, old = (lay(media_root / ".staging" / uuid4().hex, seconds=seconds) for seconds in (60, 7200))
    outcome = doctor()
    assert (outcome.status, outcome.wrong) == (1, {**HOLDS, "nothing staged is left behind": 1})
    assert old.name in outcome.text
    outcome = doctor("--repair")
    assert outcome.status == 0
    assert (young.exists(), old.exists()) == (True, False)


def test_what_is_no_picture_is_mentioned_and_never_touched(
    server: Server, doctor: Doctor, media_root: Path, tmp_path: Path
) -> None:
    folder = place(media_root, server.save(photo())).parent
    outside = lay(tmp_path / "outside" / f"{uuid4()}.jpg")
    names = ["backup.tar", f"{folder.name}/notes.txt", "lost+found/x", f"007/{uuid4()}.jpg", ".staging/folder/x"]
    others = [lay(media_root / name) for name in names]
    (media_root / "5").symlink_to(outside.parent)
    (folder / f"{uuid4()}.jpg").symlink_to(outside)
    outcome = doctor("--repair", "--grace", "0")
    assert (outcome.status, outcome.wrong) == (0, HOLDS)
    assert "7 entries of the media folder that are no pictures" in outcome.text
    for mentioned in ("backup.tar", f"{folder.name}/notes.txt", "lost+found", "007", ".staging/folder", "5"):
        assert f"left alone: {mentioned}\n" in outcome.text + "\n"
    assert all(path.exists() for path in [*others, outside])


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_name_that_is_no_text_or_moves_the_cursor_is_told_in_one_line(doctor: Doctor, media_root: Path) -> None:
    for name in (b"\xff.jpg", b"a\x1b[31m\rb\nevery file has its image", "김치".encode()):
        lay(media_root / os.fsdecode(name))
    outcome = doctor()
    assert (outcome.status, outcome.wrong) == (0, HOLDS)
    told = [line.partition("left alone: ")[2] for line in outcome.text.splitlines() if "left alone" in line]
    assert sorted(told) == [r"\udcff.jpg", r"a\x1b[31m\rb\nevery file has its image", "김치"]


def test_a_file_in_the_folder_of_another_dataset_is_found_and_not_removed(
    server: Server, doctor: Doctor, media_root: Path
) -> None:
    image, _ = server.save(photo(seed=1)), server.save(photo(seed=2))
    path = age(place(media_root, image))
    (media_root / "77").mkdir()
    moved = path.rename(media_root / "77" / path.name)
    outcome = doctor("--repair")
    assert outcome.status == 1
    assert outcome.wrong == {**HOLDS, "every image has its file": 1, "every file has its image": 1}
    assert f"77/{path.name} belongs to dataset {image['dataset']['pk']}" in outcome.text
    moved.rename(path)
    assert doctor().status == 0


def test_what_may_not_be_read_or_removed_is_told_and_stays_wrong(
    server: Server, database_url: str, media_root: Path
) -> None:
    image, _ = server.save(photo(seed=1)), server.save(photo(seed=2))
    unread = place(media_root, image)
    stray = lay(media_root / "77" / f"{uuid4()}.jpg")
    unread.chmod(0)
    stray.parent.chmod(0o555)
    program = (*AS_ANYBODY, sys.executable, "-m", "graphql_server")
    outcome = run_apart(database_url, media_root, "--repair", program=program)
    assert outcome.status == 1
    assert outcome.wrong == {**HOLDS, "every file is as it was saved": 1, "every file has its image": 1}
    assert re.search(f"image {image['pk']}: .*/{unread.name} cannot be read: .*Permission denied", outcome.text)
    assert f"77/{stray.name} cannot be removed: Permission denied" in outcome.text
    for mode in (0, 0o444):  # with the second one its names may be read, and nothing else
        stray.parent.chmod(mode)
        outcome = run_apart(database_url, media_root, program=program)
        assert (outcome.status, outcome.text) == (2, "")
        assert outcome.errors == f"graphql-server: MEDIA_ROOT: {stray.parent} cannot be listed: Permission denied\n"


def test_nothing_is_removed_from_a_folder_that_seems_to_be_another_databases(doctor: Doctor, media_root: Path) -> None:
    files = [lay(media_root / "1" / f"{uuid4()}.jpg") for _ in range(12)]
    outcome = doctor("--repair")
    assert (outcome.status, outcome.wrong["every file has its image"]) == (1, 12)
    assert "no file was removed: no image of this database has its file here" in outcome.text
    assert all(path.exists() for path in files)
    assert outcome.text.count(".jpg") == 10
    for path in files[10:]:
        path.unlink()
    assert doctor("--repair").status == 0
    assert not any(path.exists() for path in files)
