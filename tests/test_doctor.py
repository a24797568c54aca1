"""What `graphql-server doctor` finds, repairs and leaves alone, beside a server that runs."""

import asyncio
import hashlib
import io
import itertools
import os
import pty
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from graphql_server.cli import main
from graphql_server.doctor import run as run_doctor
from graphql_server.engines.mysql import MySQLSession
from graphql_server.engines.sqlite import SqliteSession
from graphql_server.images import TABLE
from tests import mysql
from tests.photos import photo
from tests.rows import COUNTING
from tests.servers import Server

HOLDS = {
    "exactly one dataset is untrained": 0,
    "every image has its dataset": 0,
    "every image has its file": 0,
    "every file is as it was saved": 0,
    "every file has its image": 0,
    "nothing staged is left behind": 0,
    "every tally counts its images": 0,
}
MEASURED = "content_type, width, height, byte_size, sha256"
FORGET = "UPDATE image_info SET content_type = NULL, width = NULL, height = NULL, byte_size = NULL, sha256 = NULL"
# Runs the command and tells what the kernel counted of its memory.
MEASURING = """
import atexit, pathlib, sys
from graphql_server.cli import main
atexit.register(lambda: sys.stderr.write(pathlib.Path("/proc/self/status").read_text()))
main()"""
# Root reads and writes whatever it likes unless that is taken from it.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
REMOVE = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } } }"


@dataclass
class Outcome:
    """A run of the doctor: its exit status and what it printed."""

    status: Any
    text: str
    errors: str

    @property
    def wrong(self) -> dict[str, int]:
        return {name: int(wrong.replace(",", "")) for name, _, wrong in self._cells()}

    @property
    def examined(self) -> list[int]:
        return [int(examined.replace(",", "")) for _, examined, _ in self._cells()]

    def _cells(self) -> list[tuple[str, str, str]]:
        # A server of this process may log a line in between.
        table = (re.split(r" {2,}", line) for line in self.text.splitlines())
        return [(cells[0], cells[1], cells[2]) for cells in table if cells[0] in HOLDS and len(cells) > 3]


Doctor = Callable[..., Outcome]


@pytest.fixture
def doctor(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    """Runs the command on the test's database and folder."""
    media_root.mkdir(exist_ok=True)

    def run(*arguments: str, url: str = database_url, root: Path = media_root) -> Outcome:
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("MEDIA_ROOT", str(root))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *arguments])
        printed = capsys.readouterr()
        return Outcome(ended.value.code, printed.out, printed.err)

    return run


def run_apart(
    url: str,
    root: Path,
    *arguments: str,
    stderr: int = subprocess.PIPE,
    program: Sequence[str] = (sys.executable, "-m", "graphql_server"),
) -> Outcome:
    """Run the command in a process of its own."""
    ended = subprocess.run(
        [*program, "doctor", *arguments],
        env={**os.environ, "DATABASE_URL": url, "MEDIA_ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=60,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr or "")


def sql(url: str, *texts: str) -> list[tuple[Any, ...]]:
    """Run statements beside the server, with foreign keys switched off; gives the last one's rows."""
    if url.startswith("mysql"):
        return mysql.statements(url, "SET SESSION foreign_key_checks = 0", *texts)
    with closing(sqlite3.connect(url.removeprefix("sqlite://"), timeout=30, isolation_level=None)) as connection:
        return [connection.execute(text).fetchall() for text in texts][-1]


def age(path: Path, seconds: float = 7200) -> Path:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def lay(path: Path, content: bytes = b"x", seconds: float = 7200) -> Path:
    """A file that was written some time ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return age(path, seconds)


def place(media_root: Path, image: dict[str, Any]) -> Path:
    return media_root / str(image["dataset"]["pk"]) / image["uuidFileName"]


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
    on_table = " ON dataset_info" if database_url.startswith("mysql") else ""
    sql(database_url, f"DROP INDEX dataset_info_untrained{on_table}")
    try:
        sql(database_url, "INSERT INTO dataset_info (pk, title, untrained) VALUES (900, 'untrained', 1)")
        outcome = doctor("--repair")
        assert (outcome.status, outcome.wrong["exactly one dataset is untrained"]) == (1, 1)
        assert "dataset 900 is untrained beside" in outcome.text
        assert sql(database_url, "SELECT COUNT(*) FROM dataset_info WHERE untrained = 1") == [(2,)]
    finally:
        sql(
            database_url,
            "DELETE FROM dataset_info WHERE pk = 900",
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


def insert(url: str, dataset_pk: int, names: list[str], content: bytes) -> None:
    """Rows of files that all have the same content."""
    known = f"'image/jpeg', 8, 8, {len(content)}, '{hashlib.sha256(content).hexdigest()}'"
    for at in range(0, len(names), 1000):
        values = ", ".join(f"({dataset_pk}, '{name}', {known})" for name in names[at : at + 1000])
        sql(
            url,
            "BEGIN",
            f"INSERT INTO image_info (dataset_info_pk, uuid_file_name, {MEASURED}) VALUES {values}",
            *COUNTING,
            "COMMIT",
        )


def fill(url: str, media_root: Path, numbers: range) -> None:
    """Images that share one picture's bytes: each has its row, and its file under a name of its own."""
    content = photo(size=(8, 8))
    original = media_root / "original"
    original.write_bytes(content)
    ((dataset_pk,),) = sql(url, "SELECT pk FROM dataset_info WHERE untrained = 1")
    folder = media_root / str(dataset_pk)
    folder.mkdir(exist_ok=True)
    names = [f"{uuid4()}.jpg" for _ in numbers]
    for name in names:
        os.link(original, folder / name)
    original.unlink()
    insert(url, dataset_pk, names, content)


def test_saves_and_removals_during_the_examination_raise_no_alarm(
    server: Server, database_url: str, media_root: Path
) -> None:
    fill(database_url, media_root, range(300))
    for path in media_root.rglob("*.jpg"):
        age(path)
    ended = threading.Event()
    failures: list[BaseException] = []

    def live() -> None:
        try:
            for number in itertools.count():
                if ended.is_set():
                    return
                server.save(photo(seed=number))
                (oldest,) = server.data("{ images(first: 1) { nodes { pk } } }")["images"]["nodes"]
                server.data(REMOVE, oldest)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(error)

    living = threading.Thread(target=live)
    living.start()
    try:
        outcomes = [run_apart(database_url, media_root, "--repair") for _ in range(2)]
    finally:
        ended.set()
        living.join()
    assert not failures
    for outcome in outcomes:
        assert (outcome.status, outcome.wrong) == (0, HOLDS), outcome.text
    outcome = run_apart(database_url, media_root, "--grace", "0")
    assert (outcome.status, outcome.wrong, outcome.examined[1:5]) == (0, HOLDS, [300] * 4)


def test_a_save_or_a_removal_between_row_and_file_raises_no_alarm(
    doctor: Doctor, database_url: str, media_root: Path
) -> None:
    content = photo()
    ((dataset_pk,),) = sql(database_url, "SELECT pk FROM dataset_info WHERE untrained = 1")
    ended = threading.Event()

    def live() -> None:
        while not ended.is_set():
            path = lay(media_root / str(dataset_pk) / f"{uuid4()}.jpg", content)
            time.sleep(0.05)
            insert(database_url, dataset_pk, [path.name], content)
            removal = f"DELETE FROM image_info WHERE uuid_file_name = '{path.name}'"
            sql(database_url, "BEGIN", removal, *COUNTING, "COMMIT")
            time.sleep(0.05)
            path.unlink()

    living = threading.Thread(target=live)
    living.start()
    try:
        outcomes = [doctor() for _ in range(4)]
    finally:
        ended.set()
        living.join()
    for outcome in outcomes:
        assert (outcome.status, outcome.wrong) == (0, HOLDS), outcome.text


def test_memory_does_not_grow_with_the_number_of_images(database_url: str, media_root: Path) -> None:
    media_root.mkdir()
    peaks: list[int] = []
    for numbers in (range(2_000), range(2_000, 20_000)):
        fill(database_url, media_root, numbers)
        outcome = run_apart(database_url, media_root, "--grace", "0", program=(sys.executable, "-c", MEASURING))
        assert (outcome.status, outcome.examined[1:5]) == (0, [numbers.stop] * 4)
        peaks.append(int(re.findall(r"VmHWM:\s+(\d+) kB", outcome.errors)[0]))
    # SQLite keeps 2 MB of its file; what the doctor knows of 18,000 images would take 6 MB or more.
    assert peaks[1] < peaks[0] + 4 * 1024


def test_progress_is_shown_on_a_terminal(database_url: str, media_root: Path) -> None:
    media_root.mkdir()
    fill(database_url, media_root, range(1_500))
    terminal, stderr = pty.openpty()
    outcome = run_apart(database_url, media_root, stderr=stderr)
    os.close(stderr)
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        shown = b"".join(iter(lambda: read_on(reader), b"")).decode()
    assert outcome.status == 0
    assert re.search(r"\rimages: [\d,]+ of 1,500 \(\d+ %\)", shown)
    assert re.search(r"\rfiles: [\d,]+ of 1,500 \(\d+ %\)", shown)
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[K")
    assert "%" not in outcome.text


def read_on(terminal: io.FileIO) -> bytes:
    """The next piece; nothing behind the last, where Linux gives an error."""
    try:
        return terminal.read(100_000)
    except OSError:
        return b""


@pytest.mark.parametrize("grace", ["-1", "nan"])
def test_a_grace_period_that_is_none_is_refused(doctor: Doctor, media_root: Path, grace: str) -> None:
    stray = lay(media_root / "1" / f"{uuid4()}.jpg")
    outcome = doctor("--repair", f"--grace={grace}")
    assert (outcome.status, outcome.text) == (2, "")
    assert "--grace must be a number of seconds" in outcome.errors
    assert stray.exists()


def test_a_media_folder_that_is_not_there_ends_the_examination(doctor: Doctor, tmp_path: Path) -> None:
    outcome = doctor(root=tmp_path / "unmounted")
    assert (outcome.status, outcome.text) == (2, "")
    assert re.fullmatch(r"graphql-server: MEDIA_ROOT='.*unmounted' is no folder\n", outcome.errors)


def test_a_database_without_tables_ends_the_examination(doctor: Doctor, tmp_path: Path, media_root: Path) -> None:
    stray = lay(media_root / "1" / f"{uuid4()}.jpg")
    (tmp_path / "new.db").touch()
    outcome = doctor("--repair", url=f"sqlite://{tmp_path / 'new.db'}")
    assert outcome.status == 2
    assert "has not been migrated" in outcome.errors
    assert stray.exists()


def test_a_database_that_does_not_answer_ends_the_examination(doctor: Doctor) -> None:
    outcome = doctor(url="mysql://app:apppw@127.0.0.1:9/app")
    assert outcome.status == 2
    assert re.fullmatch(r"graphql-server: .*database.*\n", outcome.errors, re.IGNORECASE)


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
    assert server.data(count) == counted
    assert "2 mended" in doctor("--repair").text
    assert server.data(count) == {"images": {"totalCount": 1}, "untrained": {"images": {"totalCount": 1}}}
    assert doctor("--repair").wrong["every tally counts its images"] == 0
