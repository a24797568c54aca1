"""What the database, the disk, the clients and the user server do wrong, and what the server makes of it.

`make chaos` does the same for longer, and to an engine of its own.
"""

import asyncio
import random
import resource
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphql_server import datasets
from graphql_server.app import opened
from graphql_server.errors import DatabaseUnavailable
from graphql_server.fixes import Fix
from tests import mysql
from tests.chaos import clients, users
from tests.chaos.mysql import await_lock, kill_connections, stranger
from tests.chaos.relay import Relay, relaying
from tests.chaos.service import (
    LIST,
    assert_errors,
    assert_full_service,
    assert_not_ready,
    await_ready,
    codes,
    every_kind,
)
from tests.chaos.sweep import kept
from tests.holdings import assert_whole, files_in
from tests.photos import Upload, photo
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import Server, running, settings_for, statements_sent
from tests.together import CREATE, REMOVE, asking, at_once, saving
from tests.waiting import wait_until

SECONDS = 2.0  # DATABASE_SECONDS here
UNAVAILABLE = "DATABASE_UNAVAILABLE"


@pytest.fixture
def relayed(migrated_mysql: str, media_root: Path) -> Generator[tuple[Server, Relay]]:
    """A server with two connections at most, and the relay through which it reaches MySQL."""
    mysql.empty(migrated_mysql)
    with (
        relaying(migrated_mysql) as (url, relay),
        running(settings_for(url, media_root, database_pool=2, database_seconds=SECONDS)) as server,
    ):
        yield Server(server.url, settings_for(migrated_mysql, media_root), server.user_server), relay
        relay.thaw()


@pytest.fixture
def patient(migrated_mysql: str, media_root: Path) -> Generator[Server]:
    """A server that waits for its database longer than a busy machine can take for what a test does meanwhile."""
    mysql.empty(migrated_mysql)
    with running(settings_for(migrated_mysql, media_root, database_pool=2, database_seconds=20.0)) as server:
        yield server


@pytest.mark.parametrize("away", [Relay.down, Relay.hang_up], ids=["down", "hanging up"])
def test_a_database_that_is_away_is_an_error_in_time_and_full_service_returns_with_it(
    relayed: tuple[Server, Relay], away: Callable[[Relay], None]
) -> None:
    server, relay = relayed
    pk = server.save(photo())["pk"]
    away(relay)
    assert_errors(server, every_kind(pk) * 5, UNAVAILABLE, SECONDS)
    assert_not_ready(server, "database")
    relay.up()
    assert_full_service(server)


def test_a_database_that_is_frozen_is_an_error_in_time_and_full_service_returns_with_it(
    relayed: tuple[Server, Relay],
) -> None:
    server, relay = relayed
    pk = server.save(photo())["pk"]
    relay.freeze()
    assert_errors(server, every_kind(pk) * 5, UNAVAILABLE, SECONDS)
    assert_not_ready(server, "database")
    relay.thaw()
    # What was on its way when the database froze may still come to it; each of these is whole or not at all.
    assert_full_service(server)


def test_connections_that_are_killed_cost_no_more_than_the_requests_on_them(relayed: tuple[Server, Relay]) -> None:
    server, _ = relayed
    with ThreadPoolExecutor(1) as apart:
        answers = apart.submit(at_once, server, [saving(clients.fresh()) for _ in range(40)])
        killed = 0
        while not answers.done():
            killed += kill_connections(server.settings.database_url)
            time.sleep(0.1)
    assert killed > 0
    failed = [codes(answer) for answer in answers.result() if "errors" in answer]
    assert all(code == [UNAVAILABLE] for code in failed)
    acknowledged = {answer["data"]["saveFix"]["image"]["pk"] for answer in answers.result() if "errors" not in answer}
    assert acknowledged
    assert acknowledged <= {image[0] for image in kept(server.settings).images}
    assert_full_service(server, whole=False)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_that_is_cut_at_commit_leaves_each_row_with_its_file(
    relayed: tuple[Server, Relay], moment: str
) -> None:
    server, relay = relayed
    done = moment == "after"
    relay.cut_at(b"COMMIT", done=done)
    assert codes(server.upload(clients.fresh())) == [UNAVAILABLE]
    # Nobody knows whether it was committed, so the file stays in either case.
    wait_until(lambda: len(kept(server.settings).images) == done)
    assert len(kept(server.settings).strays) == (not done)
    await_ready(server)  # whoever connects anew says COMMIT, too
    relay.cut_at(b"COMMIT", done=done)
    assert codes(server.result(CREATE, {"title": "Lunch"})) == [UNAVAILABLE]
    titles = ["Lunch", "untrained"] if done else ["untrained"]
    wait_until(lambda: [title for _, title, _ in kept(server.settings).datasets] == titles)
    assert_full_service(server, whole=done)


def test_a_lock_that_is_held_for_a_moment_is_waited_for(patient: Server) -> None:
    with ThreadPoolExecutor(1) as apart:
        with stranger(patient.settings.database_url) as other:
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            saved = apart.submit(patient.upload, clients.fresh())
            await_lock(patient.settings.database_url)
            assert not saved.done()
        assert codes(saved.result()) == []
    assert_whole(patient.settings)


def test_a_lock_that_is_held_for_long_is_an_error_in_time(migrated_mysql: str, media_root: Path) -> None:
    mysql.empty(migrated_mysql)
    # A lock is waited for a whole second at least, which is to be shorter than a statement may take.
    with running(settings_for(migrated_mysql, media_root, database_seconds=3.0)) as server:
        with stranger(migrated_mysql) as other:
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            asks = [
                saving(clients.fresh()),
                asking(CREATE, title="Lunch"),
                saving(clients.fresh()),
                asking(CREATE, title="Supper"),
            ]
            assert_errors(server, asks, UNAVAILABLE, 3.0)
        assert_full_service(server)


def test_a_deadlock_that_the_server_loses_is_tried_again(patient: Server) -> None:
    rows = ", ".join(f"('Rival {number}', 'rival {number}')" for number in range(50))
    with ThreadPoolExecutor(1) as apart, statements_sent() as sent:
        # InnoDB gives up the transaction that has changed less.
        with stranger(patient.settings.database_url) as other:
            other.run(f"INSERT INTO dataset_info (title, title_key) VALUES {rows}, ('Lunch', 'lunch')")
            sealed = apart.submit(patient.result, CREATE, {"title": "Lunch"})
            await_lock(patient.settings.database_url)
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
        assert codes(sealed.result()) == []
    assert sum("FOR UPDATE" in text for text in sent) > 1
    assert_whole(patient.settings)


@pytest.mark.anyio
async def test_requests_that_are_given_up_at_any_moment_leave_all_whole_and_the_connections_free(
    database_url: str, media_root: Path
) -> None:
    settings = settings_for(database_url, media_root, database_pool=2)
    chance = random.Random(20261123)
    fix = Fix(original_file_name="a.jpg", exif_degree=0, model_degree=0, confidence=1.0, user_fix_degree=0)
    async with opened(settings) as parts:

        async def save() -> None:
            await parts.album.save_fix(Upload(clients.fresh()), fix)

        await save()  # the first one has to connect
        took: list[float] = []
        for _ in range(5):
            begun = time.monotonic()
            await save()
            took.append(time.monotonic() - begun)
        longest = 1.5 * min(took)
        given_up = 0
        for _ in range(50):
            tasks = [asyncio.create_task(save()) for _ in range(4)]
            for task in tasks:
                await asyncio.sleep(chance.uniform(0, longest / 2))
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()  # as anyio's scopes do, again and again
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            given_up += sum(isinstance(end, asyncio.CancelledError | DatabaseUnavailable) for end in ends)
            assert all(end is None or isinstance(end, asyncio.CancelledError | DatabaseUnavailable) for end in ends)
        assert given_up > 50
        async with asyncio.timeout(30):
            await asyncio.gather(*(save() for _ in range(8)))
    await asyncio.to_thread(assert_whole, settings)


@pytest.mark.anyio
async def test_who_has_sealed_a_dataset_is_told_so_whoever_takes_the_last_connection_then(
    database_url: str, media_root: Path
) -> None:
    async with opened(settings_for(database_url, media_root, database_pool=1, database_seconds=1.0)) as parts:
        engine = parts.album.database.engine
        sealing = asyncio.create_task(datasets.seal(parts.album.database, "Lunch"))
        while not engine.slots.used:  # noqa: ASYNC110 - it is seen in a number
            await asyncio.sleep(0)
        async with engine.session():
            sealed, fresh = await sealing
    assert [sealed[1], fresh[1]] == ["Lunch", "untrained"]


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


def test_saves_seals_and_removals_by_two_servers_at_once_leave_everything_in_one_place(
    migrated_mysql: str, media_root: Path, tmp_path: Path
) -> None:
    mysql.empty(migrated_mysql)
    with users_listening() as address:
        settings = settings_of(migrated_mysql, media_root, address)
        with (
            started(tmp_path, "serve", **settings) as one,
            started(tmp_path, "serve", **settings) as two,
        ):
            servers = [server_of(process, settings) for process in (one, two)]
            gone = [servers[0].save(clients.fresh())["pk"] for _ in range(20)]
            asks = [saving(clients.fresh()) for _ in range(200)]
            asks += [asking(CREATE, title=f"Dataset {number}") for number in range(10)]
            asks += [asking(REMOVE, pk=pk) for pk in gone]
            random.Random(3).shuffle(asks)
            answers = at_once(servers, asks, clients=40)
    assert [answer for answer in answers if "errors" in answer] == []
    left = kept(servers[0].settings)
    saved = {answer["data"]["saveFix"]["image"]["pk"] for answer in answers if "saveFix" in answer["data"]}
    assert {image[0] for image in left.images} == saved
    assert len(saved) == 200
    assert sorted(title for _, title, _ in left.datasets) == sorted(
        ["untrained", *(f"Dataset {number}" for number in range(10))]
    )
    assert_whole(servers[0].settings)


def test_nobody_who_waits_for_a_connection_is_overtaken(migrated_mysql: str, media_root: Path) -> None:
    counts = [0] * 40

    async def ask(number: int, fetch: Callable[[str], Awaitable[object]]) -> None:
        while sum(counts) < 40 * len(counts):
            await fetch("SELECT pk FROM dataset_info")
            counts[number] += 1

    async def run() -> None:
        async with (
            opened(settings_for(migrated_mysql, media_root, database_pool=1)) as parts,
            asyncio.TaskGroup() as all_,
        ):
            for number in range(len(counts)):
                all_.create_task(ask(number, parts.album.database.fetch))

    asyncio.run(run())
    # At two connections one may take longer than the other, and who has it falls behind.
    assert max(counts) - min(counts) <= 1, counts


def test_a_connection_that_is_long_in_being_made_holds_up_nobody_whom_another_serves(
    relayed: tuple[Server, Relay],
) -> None:
    server, relay = relayed
    server.data(LIST)
    relay.ignoring = True
    relay.delay = 0.05  # so that two want a connection at the same time
    assert {tuple(codes(answer)) for answer in at_once([server], [asking(LIST)] * 20, clients=5)} == {()}
