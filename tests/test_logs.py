"""The log: one line an event, in two formats, with the request's id and without a secret."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
START = """
import logging, structlog, sys
from graphql_server import logs
logs.configure(sys.argv[1], sys.argv[2])
log = structlog.get_logger("graphql_server.app")
"""


def logged(program: str, style: str = "json", level: str = "info") -> list[str]:
    """Run a program that logs, in a process of its own since logging is set up once for all of it."""
    run = [sys.executable, "-W", "error", "-c", START + program, style, level]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_an_event_is_a_line_of_json_with_its_time_level_logger_and_request() -> None:
    (line,) = logged("structlog.contextvars.bind_contextvars(request_id='r-1')\nlog.info('saved', image=7)")
    event: dict[str, Any] = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "saved",
        "image": 7,
        "level": "info",
        "logger": "graphql_server.app",
        "request_id": "r-1",
    }


def test_the_line_of_a_request_has_what_the_application_around_it_has_bound() -> None:
    (line,) = logged(
        """
import asyncio
from graphql_server.http.request_log import RequestLog
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
async def around():
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"r-1")]}
    with structlog.contextvars.bound_contextvars(tenant="acme"):
        await RequestLog(app)(scope, None, lambda message: asyncio.sleep(0))
    await asyncio.sleep(0)
asyncio.run(around())
"""
    )
    event: dict[str, Any] = json.loads(line)
    assert (event["event"], event["tenant"], event["request_id"]) == ("request", "acme", "r-1")


def test_what_libraries_log_comes_through_the_same_pipe() -> None:
    lines = logged(
        "logging.getLogger('uvicorn.error').info('Started %s', 'it')\n"
        "logging.getLogger('tortoise').warning('slow')\n"
        "logging.getLogger('elsewhere').error('oh')"
    )
    assert [(json.loads(line)["logger"], json.loads(line)["event"]) for line in lines] == [
        ("uvicorn.error", "Started it"),
        ("tortoise", "slow"),
        ("elsewhere", "oh"),
    ]


def test_libraries_that_tell_every_step_are_heard_from_warning_on_even_at_debug() -> None:
    names = ("httpx", "httpcore.http11", "tortoise.db_client", "asyncmy", "PIL.PngImagePlugin")
    lines = logged(
        f"""
log.debug('a')
for name in {names}:
    logging.getLogger(name).info('b')
    logging.getLogger(name).warning('c')
""",
        level="debug",
    )
    told = [(event["logger"], event["event"]) for event in map(json.loads, lines)]
    assert told == [("graphql_server.app", "a"), *((name, "c") for name in names)]


def test_uvicorns_own_line_for_each_request_is_left_out() -> None:
    assert logged("logging.getLogger('uvicorn.access').info('GET /')") == []


def test_levels_below_the_setting_are_left_out() -> None:
    lines = logged("log.info('a')\nlogging.getLogger('x').info('b')\nlog.warning('c')", level="warning")
    assert [json.loads(line)["event"] for line in lines] == ["c"]


SECRETS = """
log.info("one", token="sesame", headers={"Authorization": "Bearer sesame", "x": ["Bearer sesame,x"]})
log.info("GET /media/7/a.jpg?expires=1&signature=sesame")
log.info("two", address="mysql://root:sesame@host:3306/d", access_token="sesame", said="access_token: sesame")
logging.getLogger("x").warning("%s", "Bearer sesame", extra={"password": "sesame"})
try:
    raise ValueError("access_token=sesame")
except ValueError:
    log.exception("three", secret=b"sesame")
    logging.getLogger("x").exception("four")
"""


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_secret_is_written(style: str) -> None:
    lines = logged(SECRETS, style)
    assert len(lines) >= 6
    assert not [line for line in lines if "sesame" in line]
    assert "expires=1&signature=[removed]" in lines[1]
    assert "mysql://root:[removed]@host:3306/d" in lines[2]


def test_ports_in_addresses_are_no_passwords() -> None:
    (line,) = logged("log.info('asked', address='http://127.0.0.1:8000/graphql')")
    assert json.loads(line)["address"] == "http://127.0.0.1:8000/graphql"


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_text_can_pose_as_another_line_or_move_the_cursor(style: str) -> None:
    evil = "a\\n2026-11-23T00:00:00Z error fake\\r\\x1b[2J\\u2028\\u202e\\ud800"
    lines = logged(f"log.info('{evil}', name='{evil} level=error')", style)
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_text_reads_as_one_line_with_an_indented_traceback_below() -> None:
    lines = logged(
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('it broke', name='김치 사진', n=1)",
        "text",
    )
    assert lines[0].split(" ", 1)[1] == 'error graphql_server.app it broke name="김치 사진" n=1'
    assert lines[-1] == "    ZeroDivisionError: division by zero"
    assert all(line.startswith("    ") for line in lines[1:])


def test_a_log_that_nobody_takes_any_more_fails_nobody_who_writes_it() -> None:
    program = "sys.stdout.close()\n"
    assert logged(program + "for _ in range(3): log.info('a')\nlogging.getLogger('x').error('b')") == []


@pytest.mark.parametrize("place", ["a full disk", "a pipe without a reader"])
def test_a_log_that_cannot_be_written_is_no_error_nor_when_another_process_is_started_nor_in_the_end(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # then Python would keep nothing to fail with later
    program = """
import multiprocessing, time
for _ in range(3): log.info('a')
multiprocessing.get_context("spawn").Process(target=time.time).start()
"""
    reader, stdout = os.pipe()
    os.close(reader)
    if place == "a full disk":
        os.dup2(full := os.open("/dev/full", os.O_WRONLY), stdout)
        os.close(full)
    run = [sys.executable, "-W", "error", "-c", START + program, "json", "info"]
    done = subprocess.run(run, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    os.close(stdout)
    assert (done.returncode, done.stderr) == (0, "")
