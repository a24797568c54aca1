"""What holds when many clients ask at once, on one server and on two."""

import asyncio
import random
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from graphql_server import album, disk
from tests import mysql
from tests.chaos import clients
from tests.chaos.sweep import kept
from tests.holdings import IMAGES, ask, assert_whole
from tests.photos import photo
from tests.processes import server_of, settings_of, started, users_listening
from tests.rivals import name_against_a_rival
from tests.servers import Server, running, settings_for
from tests.together import CREATE, REMOVE, asking, at_once, saving

TITLED = "SELECT title FROM dataset_info WHERE untrained IS NULL"


@pytest.fixture
def servers(database_url: str, media_root: Path) -> Generator[list[Server]]:
    """The servers that clients are spread over: on MySQL a second one on the same database and folder.

    They give a transaction more time than a busy machine takes for all that come at once.
    """
    settings = settings_for(database_url, media_root, database_seconds=30.0)
    with running(settings) as server:
        if database_url.startswith("sqlite"):
            yield [server]
            return
        with running(settings) as second:
            yield [server, second]


def refusals(answers: list[Any]) -> Counter[str]:
    """How often each code was answered."""
    return Counter(error["extensions"]["code"] for answer in answers for error in answer.get("errors", []))


def test_of_16_who_name_the_untrained_dataset_at_once_each_names_another(servers: list[Server]) -> None:
    titles = [f"title {number}" for number in range(16)]
    answers = at_once(servers, [asking(CREATE, title=title) for title in titles])
    assert not refusals(answers)
    url = servers[0].settings.database_url
    assert sorted(title for (title,) in ask(url, TITLED)) == sorted(titles)
    created = [answer["data"]["createDataset"]["dataset"] for answer in answers]
    assert [dataset["title"] for dataset in created] == titles
    assert len({dataset["pk"] for dataset in created}) == 16
    assert_whole(servers[0].settings)


def test_of_16_who_take_one_title_at_once_one_gets_it(servers: list[Server]) -> None:
    answers = at_once(servers, [asking(CREATE, title=title) for title in ("Lunch", "LUNCH") * 8])
    assert refusals(answers) == {"CONFLICT": 15}
    assert len(ask(servers[0].settings.database_url, "SELECT pk FROM dataset_info")) == 2
    assert_whole(servers[0].settings)


def test_200_saves_against_10_names_leave_every_image_in_one_dataset_and_rows_equal_to_files(
    servers: list[Server],
) -> None:
    photos = [photo(seed=seed) for seed in range(200)]
    asks = [saving(content, f"{number}.jpg") for number, content in enumerate(photos)]
    for number in range(10):
        asks.insert(21 * number, asking(CREATE, title=f"title {number}"))
    answers = at_once(servers, asks)
    assert not refusals(answers)
    url = servers[0].settings.database_url
    rows = {pk: (dataset_pk, name) for pk, dataset_pk, name, *_ in ask(url, IMAGES)}
    saved = [answer["data"]["saveFix"]["image"] for answer in answers if "saveFix" in answer["data"]]
    assert {image["pk"]: (image["dataset"]["pk"], image["uuidFileName"]) for image in saved} == rows
    assert [image["originalFileName"] for image in saved] == [f"{number}.jpg" for number in range(200)]
    assert sorted(title for (title,) in ask(url, TITLED)) == [f"title {number}" for number in range(10)]
    assert_whole(servers[0].settings)


@pytest.mark.parametrize(
    "given", [{}, {"idempotencyKey": "the same", "onDuplicate": "ALLOW"}], ids=["a photo", "a photo and its key"]
)
def test_of_40_who_send_the_same_at_once_one_saves_it(servers: list[Server], given: dict[str, Any]) -> None:
    answers = at_once(servers, [saving(photo(), **given)] * 40)
    assert not refusals(answers)
    assert len({answer["data"]["saveFix"]["image"]["pk"] for answer in answers}) == 1
    assert len(ask(servers[0].settings.database_url, IMAGES)) == 1
    assert_whole(servers[0].settings)


def test_images_that_are_removed_while_others_are_saved_and_named_take_only_themselves_along(
    servers: list[Server],
) -> None:
    old = at_once(servers, [saving(photo(seed=seed)) for seed in range(30)])
    pks = [answer["data"]["saveFix"]["image"]["pk"] for answer in old]
    asks = [saving(photo(seed=seed)) for seed in range(100, 130)]
    asks += [asking(REMOVE, pk=pk) for pk in pks * 2]
    asks += [asking(CREATE, title=f"title {number}") for number in range(3)]
    answers = at_once(servers, [ask for shift in range(7) for ask in asks[shift::7]])
    assert refusals(answers) == {"NOT_FOUND": 30}
    left = {pk for pk, *_ in ask(servers[0].settings.database_url, IMAGES)}
    assert len(left) == 30
    assert not left & set(pks)
    assert_whole(servers[0].settings)


@pytest.mark.parametrize("engine", ["mysql"])
def test_a_deadlock_is_tried_again_and_the_client_does_not_hear_of_it(servers: list[Server]) -> None:
    server = servers[0]
    answer, updates = asyncio.run(name_against_a_rival(server))
    assert answer["data"]["createDataset"]["dataset"]["title"] == "Lunch"
    assert updates == 2
    assert_whole(server.settings)


@pytest.mark.parametrize("engine", ["mysql"])
def test_of_200_senders_at_once_those_wait_whom_the_database_could_not_take_in_its_time(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Any = disk.place
    staged: list[int] = []

    def watched(*args: Any) -> None:
        staged.append(len([*(media_root / ".staging").iterdir()]))
        place(*args)

    monkeypatch.setattr(disk, "place", watched)
    with running(settings_for(database_url, media_root, database_pool=1, database_seconds=30.0)) as server:
        answers = at_once(server, [saving(photo(seed=seed)) for seed in range(200)], clients=200)
    assert not refusals(answers)
    assert max(staged) <= album.SAVES_AT_ONCE
    assert_whole(server.settings)


@pytest.fixture
def processes(migrated_mysql: str, tmp_path: Path) -> Generator[list[Server]]:
    """Two servers as they run in production, on one database and folder."""
    mysql.empty(migrated_mysql)
    with users_listening() as users:
        settings = settings_of(migrated_mysql, tmp_path / "media", users)
        with started(tmp_path, "serve", **settings) as one, started(tmp_path, "serve", **settings) as two:
            yield [server_of(one, settings), server_of(two, settings)]


def test_servers_in_processes_of_their_own_share_a_database(processes: list[Server]) -> None:
    asks = [saving(photo(seed=seed)) for seed in range(60)]
    asks += [asking(CREATE, title=f"title {number}") for number in range(16)]
    asks += [asking(CREATE, title="the same")] * 8
    answers = at_once(processes, asks[::2] + asks[1::2])
    assert refusals(answers) == {"CONFLICT": 7}
    settings = processes[0].settings
    assert len(ask(settings.database_url, IMAGES)) == 60
    assert len(ask(settings.database_url, TITLED)) == 17
    assert_whole(settings)
    content = photo()
    image = processes[0].save(content)
    assert processes[1].get(image["url"]).content == content


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
