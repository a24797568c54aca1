"""The machine's clock jumps by an hour and back under a running server."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests import mysql
from tests.chaos.service import assert_errors, assert_full_service, await_ready
from tests.chaos.users import Users, accept, hang, users_told
from tests.photos import photo
from tests.processes import server_of, settings_of, started
from tests.servers import Server
from tests.together import asking, at_once

DATASETS = "{ datasets { nodes { pk } } }"


class Clock:
    """The clock of one process: what it reads is put off by so many seconds, and its timers are not."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.put_off(0)

    def put_off(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def put_off(migrated_mysql: str, media_root: Path, tmp_path: Path) -> Generator[tuple[Server, Clock, Users]]:
    mysql.empty(migrated_mysql)
    clock = Clock(tmp_path / "clock")
    with users_told() as users:
        settings = settings_of(migrated_mysql, media_root, users.url)
        seconds = {"MEDIA_URL_SECONDS": "600", "USER_SERVER_SECONDS": "1", "AUTH_CACHE_SECONDS": "1"}
        with started(tmp_path, "serve", **settings, **seconds, **clock.environment) as process:
            server = server_of(process, settings)
            await_ready(server)
            yield server, clock, users


@pytest.mark.parametrize("hours", [1, -1])
def test_addresses_follow_the_clock_and_waiting_does_not(put_off: tuple[Server, Clock, Users], hours: int) -> None:
    server, clock, users = put_off
    saved = server.save(photo())
    assert server.get(saved["url"]).status_code == 200
    users.say = hang
    strangers = [{**asking(DATASETS), "headers": {"authorization": f"Bearer {number}"}} for number in range(20)]
    # The library that puts the clock off makes the start of threads slow; afterwards they are there.
    at_once(server, strangers)
    users.say = accept
    clock.put_off(hours * 3600)
    # Signed for 20 minutes at most: after an hour expired, and before its time still good.
    assert server.get(saved["url"]).status_code == (410 if hours > 0 else 200)
    query = "query($pk: Int!) { image(pk: $pk) { url } }"
    anew = server.data(query, {"pk": saved["pk"]})["image"]["url"]
    assert anew != saved["url"]
    assert server.get(anew).status_code == 200
    users.say = hang
    assert_errors(server, strangers, "USER_SERVER_UNAVAILABLE", 1.0)
    clock.put_off(0)
    assert server.get(saved["url"]).status_code == 200
    # What was remembered of the token has had its time, whatever the clock says.
    assert_errors(server, [asking(DATASETS)] * 5, "USER_SERVER_UNAVAILABLE", 1.0)
    users.say = accept
    assert_full_service(server)
