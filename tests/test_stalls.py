"""A media folder that does not answer, as a network folder whose server has gone: calls into it do not come back."""

import asyncio
import re
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphql_server import disk, media
from graphql_server.errors import StorageStalled
from tests.chaos import clients
from tests.chaos.service import LIST, assert_errors, assert_full_service, assert_not_ready
from tests.front_door import codes
from tests.holdings import assert_whole, files_in
from tests.photos import Upload, photo
from tests.servers import Server, running, settings_for
from tests.together import CREATE, REMOVE, saving
from tests.waiting import wait_until

SECONDS = 1.0  # what a busy disk may take as well
STALLED = "STORAGE_UNAVAILABLE"


class Stall:
    """What is to stall does not come back while it holds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._flows = threading.Event()
        self._flows.set()
        self.held = 0

    def at(self, owner: Any, *names: str) -> None:
        for name in names:
            self._patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, call: Any) -> Any:
        def stalled(*args: Any, **kwargs: Any) -> Any:
            self.held += 1
            self._flows.wait()
            self.held -= 1
            return call(*args, **kwargs)

        return stalled

    def begin(self) -> None:
        self._flows.clear()

    def end(self) -> None:
        self._flows.set()


@pytest.fixture
def stall(monkeypatch: pytest.MonkeyPatch) -> Generator[Stall]:
    for name in ("SECONDS", "PLACING_SECONDS", "PROBING_SECONDS"):
        monkeypatch.setattr(media, name, SECONDS)
    stall = Stall(monkeypatch)
    yield stall
    stall.end()


@pytest.fixture
def stalling(stall: Stall, database_url: str, media_root: Path) -> Generator[Server]:
    with running(settings_for(database_url, media_root)) as server:
        yield server
        stall.end()


def staged(server: Server) -> list[Path]:
    return list((server.settings.media_root / disk.STAGING).iterdir())


def test_a_folder_that_does_not_answer_is_an_error_in_time_and_full_service_returns_with_it(
    stall: Stall, stalling: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    image = stalling.save(content := photo())
    stall.at(disk, "try_staging", "place", "remove", "discard", "find")
    stall.at(disk.Copy, "add", "discard")
    stall.begin()
    for turn in range(2):
        assert_errors(stalling, [saving(clients.fresh()) for _ in range(50)], STALLED, 8 * SECONDS)
        assert_not_ready(stalling, "media")
        assert codes(stalling.result(LIST)) == []
        assert codes(stalling.result(CREATE, {"title": f"Dataset {turn}"})) == []
    stalling.get("/readyz")
    assert re.search(r"warning.*storage unavailable.*Stalled: no answer within 1 seconds", capsys.readouterr().out)
    assert stall.held <= media.THREADS + 1
    stall.end()
    wait_until(lambda: codes(stalling.upload(clients.fresh())) == [])
    assert stalling.get(image["url"]).content == content
    wait_until(lambda: not staged(stalling))
    assert_full_service(stalling)


def test_a_folder_that_stalls_while_files_are_placed_holds_no_lock_and_leaves_nothing(
    stall: Stall, stalling: Server
) -> None:
    image = stalling.save(content := photo())
    stall.at(disk, "place", "remove", "discard")
    stall.begin()
    assert_errors(stalling, [saving(clients.fresh()) for _ in range(40)], STALLED, 8 * SECONDS)
    assert codes(stalling.result(CREATE, {"title": "Lunch"})) == []
    assert stalling.get(image["url"]).content == content
    assert stall.held <= media.THREADS
    stall.end()
    wait_until(lambda: codes(stalling.upload(clients.fresh())) == [])
    wait_until(lambda: not staged(stalling))
    assert_full_service(stalling)


def test_who_waits_behind_saves_that_the_folder_holds_up_is_not_told_that_the_database_is_away(
    stall: Stall, database_url: str, media_root: Path
) -> None:
    with running(settings_for(database_url, media_root, database_seconds=3 * SECONDS)) as server:
        server.save(photo())
        stall.at(disk, "place")
        stall.begin()
        assert_errors(server, [saving(clients.fresh()) for _ in range(60)], STALLED, 10 * SECONDS)
        stall.end()


def test_what_is_removed_is_gone_although_its_file_stays_until_the_folder_answers(
    stall: Stall, stalling: Server
) -> None:
    image = stalling.save(photo())
    stall.at(disk, "remove")
    stall.begin()
    assert codes(stalling.result(REMOVE, {"pk": image["pk"]})) == []
    stall.end()
    wait_until(lambda: files_in(stalling.settings.media_root) == {})
    assert_whole(stalling.settings)


def test_a_save_is_told_as_done_although_what_was_staged_cannot_be_removed(stall: Stall, stalling: Server) -> None:
    stall.at(disk, "discard")
    stall.begin()
    stalling.save(photo())
    stall.end()
    wait_until(lambda: len(files_in(stalling.settings.media_root)) == 1)
    assert_whole(stalling.settings)


def test_pictures_that_cannot_be_read_are_an_error_in_time_and_hold_up_no_saves(
    stall: Stall, stalling: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = stalling.save(photo())
    monkeypatch.setattr(disk, "LOCAL", ())
    with running(stalling.settings) as server:
        stall.at(disk, "find")
        stall.begin()
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(server.get, [image["url"]] * 20))
        assert [answer.status_code for answer in answers] == [503] * 20
        assert stall.held <= media.THREADS
        server.save(clients.fresh())
        descriptors = clients.open_files(clients.os.getpid())
        stall.end()
        wait_until(lambda: stall.held == 0)
        assert server.get(image["url"]).status_code == 200
        wait_until(lambda: clients.open_files(clients.os.getpid()) <= descriptors)


@pytest.mark.anyio
async def test_no_photo_of_several_pieces_is_left_behind_half_written(stall: Stall, tmp_path: Path) -> None:
    store = media.Media(tmp_path)
    await store.discard(await store.stage(Upload(b"x"), 1))
    descriptors = clients.open_files(clients.os.getpid())
    stall.at(disk.os, "fsync")  # of which there is one for each photo, behind its last piece
    stall.begin()
    content = b"x" * (2 * media.PIECE_BYTES)
    staging = [store.stage(Upload(content), len(content)) for _ in range(3 * media.THREADS)]
    outcomes = await asyncio.gather(*staging, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageStalled}
    stall.end()
    await asyncio.to_thread(wait_until, lambda: not list((tmp_path / disk.STAGING).iterdir()))
    await asyncio.to_thread(wait_until, lambda: clients.open_files(clients.os.getpid()) <= descriptors)
    store.close()
