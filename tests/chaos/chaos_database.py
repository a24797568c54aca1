"""What happens to a MySQL server of one's own, and what the servers before it make of it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from asyncmy.errors import OperationalError

from tests import mysql
from tests.chaos.clients import fresh
from tests.chaos.engines import Mysqld
from tests.chaos.mysql import kill_connections, stranger
from tests.chaos.service import (
    LIST,
    assert_errors,
    assert_full_service,
    assert_not_ready,
    await_ready,
    every_kind,
)
from tests.chaos.sweep import kept
from tests.front_door import codes
from tests.holdings import assert_whole
from tests.processes import Process
from tests.servers import Server
from tests.together import CREATE, asking, at_once, saving

SECONDS = 5.0  # DATABASE_SECONDS
FROZEN_SECONDS = 90
UNAVAILABLE = "DATABASE_UNAVAILABLE"


@pytest.mark.parametrize("end", [Mysqld.stop, Mysqld.kill], ids=["stopped", "killed"])
def test_errors_come_in_time_while_mysql_is_down_and_full_service_when_it_is_up(
    mysqld: Mysqld, process: tuple[Process, Server], end: Callable[[Mysqld], None]
) -> None:
    _, server = process
    pk = server.save(fresh())["pk"]
    end(mysqld)
    for _ in range(3):
        assert_errors(server, every_kind(pk) * 10, UNAVAILABLE, SECONDS)
        assert_not_ready(server, "database")
    mysqld.start()
    assert_full_service(server)


def test_errors_come_in_time_while_mysql_is_frozen_for_long_and_full_service_when_it_goes_on(
    mysqld: Mysqld, process: tuple[Process, Server]
) -> None:
    _, server = process
    pk = server.save(fresh())["pk"]
    mysqld.freeze()
    end = time.monotonic() + FROZEN_SECONDS
    try:
        while time.monotonic() < end:
            assert_errors(server, every_kind(pk) * 10, UNAVAILABLE, SECONDS)
            assert_not_ready(server, "database")
    finally:
        mysqld.thaw()
    # The saves that had placed their files when it froze are whole or not at all.
    assert_full_service(server)


@pytest.mark.parametrize("rounds", [5])
def test_what_was_answered_is_there_after_mysql_was_killed_under_load(
    mysqld: Mysqld, process: tuple[Process, Server], rounds: int
) -> None:
    _, server = process
    acknowledged = set[int]()
    for number in range(rounds):
        with ThreadPoolExecutor(1) as apart:
            answers = apart.submit(at_once, server, [saving(fresh()) for _ in range(200)], 20)
            time.sleep(0.3 + number / 5)
            mysqld.kill()
            mysqld.start()
        acknowledged |= _saved(answers.result())
        await_ready(server)
        assert acknowledged <= {image[0] for image in kept(server.settings).images}
    assert acknowledged
    assert_full_service(server, whole=False)


def _saved(answers: list[dict[str, Any]]) -> set[int]:
    assert {code for answer in answers for code in codes(answer)} <= {UNAVAILABLE}
    return {answer["data"]["saveFix"]["image"]["pk"] for answer in answers if "errors" not in answer}


def test_what_was_answered_is_there_after_all_connections_were_killed_again_and_again(
    process: tuple[Process, Server],
) -> None:
    _, server = process
    with ThreadPoolExecutor(1) as apart:
        answers = apart.submit(at_once, server, [saving(fresh()) for _ in range(600)], 20)
        killed = 0
        while not answers.done():
            killed += kill_connections(server.settings.database_url)
            time.sleep(0.2)
    acknowledged = _saved(answers.result())
    assert killed > 5
    assert acknowledged
    assert acknowledged <= {image[0] for image in kept(server.settings).images}
    assert_full_service(server, whole=False)


def test_a_mysql_that_takes_no_more_connections_is_unavailable_until_it_does(
    mysql_server: str, process: tuple[Process, Server]
) -> None:
    _, server = process
    pk = server.save(fresh())["pk"]
    ((usual,),) = mysql.statements(mysql_server, "SELECT @@max_connections")
    with stranger(mysql_server) as administrator:
        kill_connections(server.settings.database_url)
        with ExitStack() as others:
            # One connection more is kept for administrators, which the tests' account is.
            for _ in range(10):
                others.enter_context(stranger(mysql_server))
            administrator.run("SET GLOBAL max_connections = 10")
            assert_errors(server, every_kind(pk) * 10, UNAVAILABLE, SECONDS)
            assert_not_ready(server, "database")
        administrator.run(f"SET GLOBAL max_connections = {usual}")
    assert_full_service(server)


def test_a_mysql_that_is_read_only_is_read_and_not_written(mysql_server: str, process: tuple[Process, Server]) -> None:
    _, server = process
    saved = server.save(fresh())
    mysql.statements(mysql_server, "SET GLOBAL super_read_only = ON")
    try:
        listing, *changing = every_kind(saved["pk"]) * 5
        assert_errors(server, [ask for ask in changing if ask != listing], UNAVAILABLE, SECONDS)
        assert server.data(LIST)["images"]["nodes"] == [{"pk": saved["pk"]}]
        assert_whole(server.settings)
    finally:
        mysql.statements(mysql_server, "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")
    assert_full_service(server)


def test_locks_that_others_hold_again_and_again_cost_time_and_nothing_else(process: tuple[Process, Server]) -> None:
    _, server = process
    asks = [saving(fresh()) for _ in range(100)]
    asks += [asking(CREATE, title=f"Dataset {number}") for number in range(10)]
    with ThreadPoolExecutor(1) as apart:
        answers = apart.submit(at_once, server, asks, 20)
        while not answers.done():
            with stranger(server.settings.database_url) as other:
                with suppress(OperationalError):  # it may be the one whom a deadlock hits
                    other.run("SELECT pk FROM dataset_info FOR UPDATE")
                time.sleep(0.2)
    assert [codes(answer) for answer in answers.result()] == [[]] * len(asks)
    assert_whole(server.settings)
