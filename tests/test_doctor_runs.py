"""An examination by `graphql-server doctor`: beside a server at work, of very many images, and what ends it."""

import hashlib
import io
import itertools
import os
import pty
import re
import sys
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.doctor import HOLDS, MEASURED, Doctor, age, lay, run_apart, sql
from tests.photos import photo
from tests.rows import COUNTING
from tests.servers import Server
from tests.together import REMOVE

# Runs the command and tells what the kernel counted of its memory.
MEASURING = """
import atexit, pathlib, sys
from graphql_server.cli import main
atexit.register(lambda: sys.stderr.write(pathlib.Path("/proc/self/status").read_text()))
main()"""


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
