"""A media folder on a small file system of its own: it fills up, runs out of inodes, is read-only, and is gone."""

import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from graphql_server import disk, media
from tests.chaos import clients
from tests.chaos.service import assert_errors, assert_full_service, await_ready
from tests.front_door import codes
from tests.holdings import assert_whole
from tests.processes import Process
from tests.servers import Server
from tests.together import asking, at_once, saving
from tests.waiting import wait_until

UNAVAILABLE = "STORAGE_UNAVAILABLE"
IMAGES = "{ images { nodes { pk } } }"
BYTES, INODES = 4 * 2**20, 100


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, timeout=60)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True, timeout=60)


@pytest.fixture
def media_root(tmp_path: Path) -> Generator[Path]:
    root = tmp_path / "media"
    root.mkdir()
    _mount_small(root)
    yield root
    unmount(root)


def _mount_small(root: Path) -> None:
    mount("-t", "tmpfs", "-o", f"size={BYTES},nr_inodes={INODES}", "tmpfs", root)


def test_a_full_disk_is_an_error_and_reading_goes_on_until_there_is_room(process: tuple[Process, Server]) -> None:
    _, server = process
    content = clients.fresh()
    image = server.save(content)
    filler = server.settings.media_root / "filler"
    filler.write_bytes(bytes(BYTES - 2**18))
    large = clients.noise(400)
    assert_errors(server, [saving(clients.noise(400 + number)) for number in range(20)], UNAVAILABLE, 5)
    assert server.data(IMAGES) == {"images": {"nodes": [{"pk": image["pk"]}]}}
    assert server.get(image["url"]).content == content
    filler.unlink()
    assert_whole(server.settings)
    server.save(large)
    assert_full_service(server)


def test_saves_that_together_fill_the_disk_are_each_whole_or_not_at_all(process: tuple[Process, Server]) -> None:
    _, server = process
    answers = at_once(server, [saving(clients.noise(300 + number)) for number in range(20)])
    assert {code for answer in answers for code in codes(answer)} == {UNAVAILABLE}
    assert any("errors" not in answer for answer in answers)
    assert_whole(server.settings)


def test_a_disk_without_inodes_is_an_error_until_there_are_some(process: tuple[Process, Server]) -> None:
    _, server = process
    server.save(clients.fresh())
    fillers = [server.settings.media_root / f"filler{number}" for number in range(INODES)]
    try:
        for filler in fillers:
            filler.touch()
    except OSError:
        assert_errors(server, [saving(clients.fresh()) for _ in range(20)], UNAVAILABLE, 5)
    else:
        pytest.fail("the file system has more inodes than it should")
    for filler in fillers:
        filler.unlink(missing_ok=True)
    assert_whole(server.settings)
    assert_full_service(server)


def test_a_folder_that_is_read_only_is_read_and_not_written(process: tuple[Process, Server]) -> None:
    _, server = process
    content = clients.fresh()
    image = server.save(content)
    mount("-o", "remount,ro", server.settings.media_root)
    assert_errors(server, [saving(clients.fresh()) for _ in range(20)], UNAVAILABLE, 5)
    assert server.get("/readyz").json()["failing"] == ["media"]
    assert server.get(image["url"]).content == content
    mount("-o", "remount,rw", server.settings.media_root)
    await_ready(server)
    assert_whole(server.settings)
    assert_full_service(server)


def test_a_volume_that_is_gone_is_not_written_under(process: tuple[Process, Server]) -> None:
    _, server = process
    server.save(clients.fresh())
    unmount(server.settings.media_root)
    server.settings.media_root.rmdir()
    try:
        assert_errors(server, [saving(clients.fresh()) for _ in range(20)], UNAVAILABLE, 5)
        assert server.get("/readyz").json()["failing"] == ["media"]
        assert codes(server.result(IMAGES)) == []
    finally:
        server.settings.media_root.mkdir()
        _mount_small(server.settings.media_root)
    await_ready(server)
    # What was on the volume is gone with it; the server goes on with what it has now.
    assert codes(at_once(server, [saving(clients.fresh())])[0]) == []
    assert codes(at_once(server, [asking(IMAGES)])[0]) == []


@pytest.fixture
def frozen(media_root: Path, tmp_path: Path) -> Generator[Path]:
    """The media folder on a disk of its own, whose writes can be held up: they do not come back until it thaws."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(32 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=60)
    mount("-o", "loop", image, media_root)
    yield media_root
    subprocess.run(["fsfreeze", "--unfreeze", media_root], check=False, capture_output=True, timeout=60)
    unmount(media_root)


def test_a_disk_that_does_not_come_back_is_an_error_in_time_until_it_does(
    frozen: Path, process: tuple[Process, Server]
) -> None:
    running, server = process
    content = clients.fresh()
    image = server.save(content)
    before = clients.threads(running.popen.pid)
    subprocess.run(["fsfreeze", "--freeze", frozen], check=True, timeout=60)
    try:
        for _ in range(2):
            seconds = media.SECONDS + 2 * media.PLACING_SECONDS
            assert_errors(server, [saving(clients.fresh()) for _ in range(100)], UNAVAILABLE, seconds)
            assert server.data(IMAGES) == {"images": {"nodes": [{"pk": image["pk"]}]}}
            assert server.get(image["url"]).content == content
        assert clients.threads(running.popen.pid) <= before + 3 * media.THREADS
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", frozen], check=True, timeout=60)
    wait_until(lambda: codes(server.upload(clients.fresh())) == [])
    wait_until(lambda: not list((frozen / disk.STAGING).iterdir()))
    assert_full_service(server)
