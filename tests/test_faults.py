"""What the disk, the clients and the user server do wrong, and what the server makes of it.

`make chaos` does the same for longer, and to an engine of its own.
"""

import random
import resource
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos import clients, users
from tests.chaos.service import LIST, assert_errors, assert_full_service, await_ready
from tests.chaos.sweep import kept
from tests.front_door import codes
from tests.holdings import assert_whole, files_in
from tests.photos import photo
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import Server
from tests.together import asking, at_once, saving
from tests.waiting import wait_until


@pytest.fixture
def process(database_url: str, media_root: Path, tmp_path: Path) -> Generator[tuple[Process, Server]]:
    """A server in a process of its own."""
    with users_listening() as address:
        settings = settings_of(database_url, media_root, address)
        with started(tmp_path, "serve", **settings) as running_process:
            await_ready(server_of(running_process, settings))
            yield running_process, server_of(running_process, settings)


def test_a_disk_that_takes_no_more_is_an_error_and_reading_goes_on(process: tuple[Process, Server]) -> None:
    running_process, server = process
    # What is larger than a megabyte is written into the folder for temporary files while it comes.
    staged, spooled, small = clients.noise(500), clients.noise(700), photo()
    assert len(staged) < 2**20 < len(spooled)
    image = server.save(small)
    unlimited = resource.prlimit(running_process.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running_process.popen.pid, resource.RLIMIT_FSIZE, (2**19, unlimited[1]))
    answers = at_once(server, [saving(clients.noise(500 + number)) for number in range(10)])
    assert [codes(answer) for answer in answers] == [["STORAGE_UNAVAILABLE"]] * 10
    assert codes(server.upload(spooled)) == ["STORAGE_UNAVAILABLE"]
    told = [line for line in running_process.log() if line["event"] == "storage unavailable"]
    assert [line["folder"] for line in told] == ["MEDIA_ROOT"] * 10 + ["TMPDIR"]
    assert all(line["request_id"] and "File too large" in line["reason"] for line in told)
    assert server.data("{ images { nodes { pk } } }") == {"images": {"nodes": [{"pk": image["pk"]}]}}
    assert server.get(image["url"]).content == small
    assert_whole(server.settings)
    resource.prlimit(running_process.popen.pid, resource.RLIMIT_FSIZE, unlimited)
    server.save(spooled)
    assert_full_service(server)


@pytest.mark.parametrize("engine", ["sqlite"])
def test_clients_that_leave_in_the_middle_of_an_upload_leave_nothing(process: tuple[Process, Server]) -> None:
    running_process, server = process
    server.save(photo())
    sent = clients.upload(server, clients.noise(200))
    chance = random.Random(7)
    before = clients.open_files(running_process.popen.pid)
    for number in range(200):
        client = clients.connect(server)
        client.sendall(sent[: chance.randrange(1, len(sent))])
        if number % 2:
            clients.reset(client)
        else:
            client.close()
    await_baseline(running_process, before)
    assert server.get("/healthz").status_code == 200
    assert_whole(server.settings)
    assert_full_service(server)


def await_baseline(process: Process, open_files: int) -> None:
    """Wait until no more files are open than before, give or take a kept connection."""
    wait_until(lambda: clients.open_files(process.popen.pid) <= open_files + 2)


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("wrong", [-100, 100])
def test_an_upload_of_another_length_than_announced_is_refused_and_leaves_nothing(
    process: tuple[Process, Server], wrong: int
) -> None:
    _, server = process
    sent = clients.upload(server, photo())
    head, body = sent.split(b"\r\n\r\n", 1)
    announced = f"content-length: {len(body)}".encode()
    assert announced in head.lower()
    head = head.lower().replace(announced, f"content-length: {len(body) + wrong}".encode())
    with clients.connect(server) as client:
        client.sendall(head + b"\r\n\r\n" + body)
        client.shutdown(1)
        said = clients.answer(client)
    assert not said or said.startswith(b"HTTP/1.1 4")
    assert b'"image"' not in said
    assert files_in(server.settings.media_root) == {}
    assert_full_service(server)


def test_uploads_that_a_stop_finds_on_their_way_finish_or_fail_whole(process: tuple[Process, Server]) -> None:
    running_process, server = process
    sent = [clients.upload(server, clients.noise(100 + number)) for number in range(50)]
    begun = [clients.connect(server) for _ in sent]
    for number, client in enumerate(begun):
        client.sendall(sent[number][: len(sent[number]) * number // 60])
    server.get("/healthz")  # what came before this has been read
    with ThreadPoolExecutor(1) as apart:
        status = apart.submit(running_process.terminate)
        time.sleep(0.2)
        answers = [
            _finish(client, sent[number][len(sent[number]) * number // 60 :]) for number, client in enumerate(begun)
        ]
        assert status.result() == 0
    saved = sum(b'"saveFix":{"image":{' in answer for answer in answers)
    assert saved > 0
    assert len(kept(server.settings).images) == saved
    assert_whole(server.settings)


def _finish(client: clients.socket.socket, rest: bytes) -> bytes:
    with client:
        try:
            client.sendall(rest)
        except (BrokenPipeError, ConnectionResetError):
            return b""
        return clients.answer(client)


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize("say", [users.hang, users.drip, users.nonsense, users.redirect, users.reset])
def test_a_user_server_that_is_out_of_order_lets_nobody_in_and_holds_up_nothing_else(
    database_url: str, media_root: Path, tmp_path: Path, say: users.Say
) -> None:
    with users.users_told() as told:
        told.say = say
        settings = settings_of(database_url, media_root, told.url) | {"USER_SERVER_SECONDS": "1"}
        with started(tmp_path, "serve", **settings) as running_process:
            server = server_of(running_process, settings)
            asks = [{**asking(LIST), "headers": {"authorization": f"Bearer {number}"}} for number in range(150)]
            asks += [asking(LIST)] * 50
            assert_errors(server, asks, "USER_SERVER_UNAVAILABLE", 1.0)
            # Whoever asks while a question is open shares its answer; one that fails at once is not open for long.
            assert told.asked <= (151 if say in (users.hang, users.drip) else len(asks))
            assert told.most_pending <= 100
            assert server.get("/readyz").status_code == 200
            told.say = users.accept
            assert_full_service(server)
