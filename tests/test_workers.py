"""Workers of one server: who dies is replaced, and all end with their supervisor."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from graphql_server import migrations
from graphql_server.serving import WORKER_SECONDS
from tests import mysql
from tests.processes import Process, is_free, settings_of, started, users_listening
from tests.waiting import wait_until

STARTED = "Started server process"


def test_a_worker_that_dies_and_not_one_that_is_slow_is_replaced_and_tells_of_it_in_the_log(
    migrated_mysql: str, tmp_path: Path
) -> None:
    with serving_by_two(migrated_mysql, tmp_path) as (process, (worker, slow)):
        os.kill(slow, signal.SIGSTOP)
        time.sleep(6.5)  # uvicorn itself would replace it after five seconds and a half
        os.kill(slow, signal.SIGCONT)
        os.kill(worker, signal.SIGKILL)
        died = process.await_line("worker died and was replaced")
        process.await_line("Application startup complete", 3)
    assert (died["level"], died["pid"], died["status"]) == ("error", worker, -signal.SIGKILL)


def test_a_worker_that_cannot_start_is_tried_again_while_another_serves_and_without_one_the_status_is_1(
    new_mysql: str, tmp_path: Path
) -> None:
    asyncio.run(migrations.run(new_mysql, lambda name: None))
    with serving_by_two(new_mysql, tmp_path) as (process, workers):
        mysql.statements(new_mysql, "RENAME TABLE schema_migration TO hidden")
        os.kill(workers[0], signal.SIGKILL)
        assert process.await_line("worker cannot start")["level"] == "error"
        mysql.statements(new_mysql, "RENAME TABLE hidden TO schema_migration")
        known = children_of(process)
        wait_until(lambda: children_of(process) > known)
        for child in children_of(process) - known:  # which is asked at once whether it is well, and never answers
            os.kill(child, signal.SIGKILL)
        killed = time.monotonic()
        process.await_line("worker died and was replaced", 2)
        assert time.monotonic() - killed < WORKER_SECONDS / 2
        process.await_line("Application startup complete", 3)
        mysql.statements(new_mysql, "RENAME TABLE schema_migration TO hidden")
        *_, replacement = (line["event"] for line in process.log() if line["event"].startswith(STARTED))
        for worker in (workers[1], int(re.findall(r"\d+", replacement)[-1])):
            os.kill(worker, signal.SIGKILL)
        assert process.popen.wait(30) == 1


def children_of(process: Process) -> set[int]:
    pid = process.popen.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@contextmanager
def serving_by_two(url: str, folder: Path) -> Generator[tuple[Process, list[int]]]:
    with (
        users_listening() as users,
        started(folder, "serve", WORKERS="2", **settings_of(url, folder / "media", users)) as process,
    ):
        workers = [int(re.findall(r"\d+", process.await_line(STARTED, at)["event"])[-1]) for at in (1, 2)]
        process.await_line("Application startup complete", 2)
        yield process, workers


def test_workers_end_with_their_supervisor_so_that_a_server_can_be_started_anew(
    migrated_mysql: str, tmp_path: Path
) -> None:
    with serving_by_two(migrated_mysql, tmp_path) as (process, _):
        process.popen.kill()
        process.popen.wait(30)
        assert process.await_line("supervisor died", 2)["pid"] == process.popen.pid
        wait_until(lambda: is_free(process.port))
