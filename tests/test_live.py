"""What is changed is told to those who follow: once, in order, and by whichever way they follow."""

import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.chaos.mysql import stranger
from tests.documents import doubled
from tests.front_door import assert_refused, code
from tests.live import CHANGES, IMAGES, MULTIPART, SSE, START, connected, cursor, events, following, parts, streaming
from tests.photos import photo
from tests.processes import command
from tests.rows import sql, untrained_pk
from tests.servers import Server, running, settings_for, statements_sent
from tests.together import CREATE, REMOVE
from tests.waiting import wait_until


def seal(server: Server, title: str) -> tuple[int, int]:
    sealed = server.data(CREATE, {"title": title})["createDataset"]
    return sealed["dataset"]["pk"], sealed["untrained"]["pk"]


def remove(server: Server, pk: int) -> None:
    server.data(REMOVE, {"pk": pk})


def await_reading(statements: list[str]) -> None:
    """Wait until somebody follows: where to begin has been found, and what comes behind it is read."""
    while not any("FROM dataset_change c" in text for text in statements):
        threading.Event().wait(0.005)


def test_a_follower_is_told_of_each_image_that_is_saved(server: Server) -> None:
    with following(server) as client:
        saved = [server.save(photo(), f"{number}.jpg") for number in range(3)]
        told = [client.event() for _ in saved]
    assert [event["image"]["pk"] for event in told] == [image["pk"] for image in saved]
    assert told[0]["image"] == {
        "pk": saved[0]["pk"],
        "originalFileName": "0.jpg",
        "url": saved[0]["url"],
        "dataset": {"pk": untrained_pk(server), "title": "untrained"},
    }


def test_a_follower_of_a_dataset_is_told_of_saves_removals_and_seals_of_it_alone(server: Server) -> None:
    first = untrained_pk(server)
    with following(server, CHANGES, pk=first) as client:
        image = server.save(photo())
        remove(server, image["pk"])
        seal(server, "Lunch")
        server.save(photo())
        seal(server, "Dinner")
        told = [client.event() for _ in range(3)]
        client.send(type="ping")
        assert client.receive() == {"type": "pong"}
    assert [(event["change"], event["imagePk"]) for event in told] == [
        ("IMAGE_SAVED", image["pk"]),
        ("IMAGE_REMOVED", image["pk"]),
        ("SEALED", None),
    ]
    assert told[-1]["dataset"] == {"pk": first, "title": "Lunch"}


def test_a_seal_opens_a_dataset(server: Server) -> None:
    with following(server, CHANGES) as client:
        sealed, opened = seal(server, "Lunch")
        told = [client.event(), client.event()]
    assert [(event["change"], event["dataset"]["pk"]) for event in told] == [("SEALED", sealed), ("OPENED", opened)]


def test_a_save_that_has_no_effect_is_not_told(server: Server) -> None:
    once = photo()
    with following(server) as client:
        image = server.save(once)
        server.save(once)
        other = server.save(photo())
        assert [client.event()["image"]["pk"] for _ in range(2)] == [image["pk"], other["pk"]]


def test_without_a_cursor_a_follower_is_told_of_what_comes_from_now_on(server: Server) -> None:
    server.save(photo())
    with statements_sent() as statements, following(server, after=None) as client:
        await_reading(statements)
        later = server.save(photo())
        assert client.event()["image"]["pk"] == later["pk"]


def test_whoever_comes_back_with_a_cursor_misses_nothing_and_gets_nothing_twice(server: Server) -> None:
    saved = [server.save(photo())["pk"] for _ in range(3)]
    with following(server) as client:
        first = client.event()
    saved.append(server.save(photo())["pk"])
    with following(server, after=first["cursor"]) as client:
        saved.append(server.save(photo())["pk"])
        told = [client.event()["image"]["pk"] for _ in range(4)]
    assert [first["image"]["pk"], *told] == saved


def test_an_image_that_was_removed_meanwhile_is_left_out(server: Server) -> None:
    gone, kept = server.save(photo())["pk"], server.save(photo())["pk"]
    remove(server, gone)
    with following(server) as client:
        assert client.event()["image"]["pk"] == kept


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_a_change_with_a_lower_key_that_is_committed_later_is_told_first(server: Server) -> None:
    """What another server's transaction holds back is waited for, so that cursors leave nothing behind."""
    pk = untrained_pk(server)
    insert = "INSERT INTO dataset_change (pk, kind, dataset_info_pk, image_info_pk, created_at) VALUES "
    with statements_sent() as statements, following(server, CHANGES) as client:
        await_reading(statements)
        sql(server, insert + f"(2, 'IMAGE_SAVED', {pk}, 2, NOW(6))")
        sql(server, insert + f"(3, 'IMAGE_SAVED', {pk}, 3, NOW(6))")
        threading.Event().wait(1.2)  # it has seen them by then
        sql(server, insert + f"(1, 'IMAGE_SAVED', {pk}, 1, NOW(6))")
        assert [client.event()["imagePk"] for _ in range(3)] == [1, 2, 3]


def test_a_change_that_is_overtaken_by_a_thousand_others_is_told_before_them_to_who_comes_meanwhile(
    database_url: str, media_root: Path
) -> None:
    with running(settings_for(database_url, media_root, live_buffer=2000)) as server:
        pk, now = untrained_pk(server), datetime.now(UTC)
        insert = "INSERT INTO dataset_change (pk, kind, dataset_info_pk, image_info_pk, created_at) VALUES "

        def change(*keys: int) -> None:
            rows = ", ".join(f"({key}, 'IMAGE_SAVED', {pk}, {key}, ?)" for key in keys)
            sql(server, insert + rows, [now] * len(keys))

        change(1, *range(3, 1500))
        with statements_sent() as statements, following(server, CHANGES, after=cursor(1)) as client:
            await_reading(statements)
            change(2)
            assert [client.event()["imagePk"] for _ in range(2, 1500)] == [*range(2, 1500)]


def test_a_gap_that_nobody_fills_holds_up_changes_for_as_long_as_a_transaction_may_take(
    database_url: str, media_root: Path
) -> None:
    with running(settings_for(database_url, media_root, database_seconds=2.0)) as server:
        insert = "INSERT INTO dataset_change (pk, kind, dataset_info_pk, created_at) VALUES (?, 'OPENED', ?, ?)"
        for pk in (1, 4):
            sql(server, insert, [pk, untrained_pk(server), datetime.now(UTC)])
        with following(server, CHANGES, after=None) as now, following(server, CHANGES) as client:
            assert client.event()["change"] == "OPENED"
            server.save(photo())
            assert [client.event()["change"] for _ in range(2)] == ["OPENED", "IMAGE_SAVED"]
            assert now.event()["change"] == "IMAGE_SAVED"


def test_a_cursor_of_what_is_not_kept_any_more_is_refused(server: Server) -> None:
    for _ in range(2):
        server.save(photo())
    sql(server, "UPDATE dataset_change SET created_at = ?", [datetime.now(UTC) - timedelta(days=8)])
    url, root = server.settings.database_url, server.settings.media_root
    doctor = command("doctor", "--repair", DATABASE_URL=url, MEDIA_ROOT=str(root))
    assert doctor.returncode == 0, doctor.stderr
    ((newest,),) = sql(server, "SELECT pk FROM dataset_change")
    with following(server, after=START) as client:
        assert client.error() == "CURSOR_EXPIRED"
    with following(server, after=cursor(newest)) as client:
        image = server.save(photo())
        assert client.event()["image"]["pk"] == image["pk"]


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM dataset_change WHERE pk > 1", "UPDATE dataset_change SET created_at = '2026-01-01' WHERE pk = 2"],
    ids=["that lacks the last changes", "that has given their keys to others"],
)
def test_who_follows_is_told_to_begin_anew_when_another_database_takes_the_place(server: Server, change: str) -> None:
    """As a replica does that was behind when the primary was lost, or a backup that is restored."""
    saved = [server.save(photo())["pk"] for _ in range(2)]
    with following(server) as first, following(server) as second:
        for client in (first, second):
            assert [client.event()["image"]["pk"] for _ in saved] == saved
        sql(server, change)
        for client in (first, second):
            assert client.error() == "CURSOR_EXPIRED"
            client.subscribe(IMAGES, "2", after=START)
            assert client.event("2")["image"]["pk"] == saved[0]


@pytest.mark.parametrize("text", ["", "x", "bm9wZQ==", "WyJDSEFOR0UiLC0xXQ==", "WyJDSEFOR0UiLHRydWVd"])
def test_a_cursor_that_is_none_is_refused(server: Server, text: str) -> None:
    with following(server, after=text) as client:
        assert client.error() == "BAD_USER_INPUT"


def test_however_many_follow_the_database_is_asked_as_often(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(following(server)) for _ in range(20)]
        server.save(photo())
        for client in clients:
            client.event()  # each has asked where to begin by then
        with statements_sent() as statements:
            server.save(photo())
            assert len({client.event()["image"]["dataset"]["pk"] for client in clients}) == 1
        assert len([text for text in statements if "FROM dataset_change" in text]) < 10
        # The save itself asked for the dataset once.
        assert len([text for text in statements if "FROM dataset_info WHERE pk IN" in text]) == 1


@pytest.mark.parametrize("engine", ["mysql"])
def test_who_begins_to_follow_while_the_database_hangs_is_told_together_with_the_others(
    database_url: str, media_root: Path
) -> None:
    with (
        running(settings_for(database_url, media_root, database_seconds=2.0)) as server,
        stranger(database_url) as other,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(connected(server)) for _ in range(5)]
        for client in clients:
            client.begin()
        other.run("LOCK TABLES dataset_change WRITE")
        with statements_sent() as statements:
            for client in clients:
                client.subscribe(IMAGES)
            told = [client.receive() for client in clients]
        other.run("UNLOCK TABLES")
        # Whether MySQL ends the statement or the server gives it up first.
        (told_code,) = {message["payload"][0]["extensions"]["code"] for message in told}
        assert told_code in ("OPERATION_TIMED_OUT", "DATABASE_UNAVAILABLE")
        assert len([text for text in statements if "FROM dataset_change" in text]) == 1
        for client in clients:
            client.subscribe(IMAGES, "2")
        server.save(photo())
        assert len({client.event("2")["image"]["pk"] for client in clients}) == 1


def test_nobody_is_asked_when_nobody_follows(server: Server) -> None:
    with following(server) as client:
        server.save(photo())
        client.event()
    # The server may see a little later than the client that the connection has ended.
    wait_until(lambda: not statements_of(1.1))


def statements_of(seconds: float) -> list[str]:
    with statements_sent() as statements:
        threading.Event().wait(seconds)
    return statements


def test_events_are_streamed_to_whoever_accepts_them(server: Server) -> None:
    saved = [server.save(photo())["pk"]]
    with streaming(server, SSE) as response:
        assert response.headers["content-type"] == SSE
        assert response.headers["x-accel-buffering"] == "no"
        told = events(response)
        name, data = next(told)
        saved.append(server.save(photo())["pk"])
        assert [name, data["data"]["imageSaved"]["image"]["pk"]] == ["next", saved[0]]
        assert next(told)[1]["data"]["imageSaved"]["image"]["pk"] == saved[1]


def test_multipart_events_are_streamed_to_whoever_accepts_them(server: Server) -> None:
    saved = [server.save(photo())["pk"]]
    with streaming(server, MULTIPART) as response:
        assert response.headers["content-type"] == "multipart/mixed;boundary=graphql;subscriptionSpec=1.0"
        told = parts(response)
        first = next(told)
        saved.append(server.save(photo())["pk"])
        second = next(told)
    assert [part["payload"]["data"]["imageSaved"]["image"]["pk"] for part in (first, second)] == saved


@pytest.mark.parametrize("accept", ["application/json", "*/*", "multipart/mixed, application/json", f"{SSE};q=0, */*"])
def test_whoever_accepts_no_stream_is_told_how_to_follow(server: Server, accept: str) -> None:
    answer = server.post(IMAGES, accept=accept)
    assert_refused(answer, 406, "NOT_ACCEPTABLE")


def test_a_query_is_answered_in_json_by_whoever_takes_both_and_as_one_event_otherwise(server: Server) -> None:
    both = server.post("{ untrained { title } }", accept=f"application/json, {SSE}, multipart/mixed")
    assert both.headers["content-type"].startswith("application/json")
    with streaming(server, SSE, "{ untrained { title } }") as response:
        assert list(events(response)) == [("next", {"data": {"untrained": {"title": "untrained"}}}), ("complete", None)]


def test_a_subscription_by_get_is_streamed(server: Server) -> None:
    image = server.save(photo())
    address = httpx.URL(f"{server.url}/graphql", params={"query": IMAGES, "variables": f'{{"after": "{START}"}}'})
    with (
        httpx.Client(timeout=10) as client,
        client.stream("GET", address, headers={**server.headers, "accept": SSE}) as response,
    ):
        assert next(events(response))[1]["data"]["imageSaved"]["image"]["pk"] == image["pk"]


REFUSED = {
    "a stranger": (IMAGES, "UNAUTHENTICATED"),
    "a foreign cursor": ('subscription { imageSaved(after: "x") { cursor } }', "BAD_USER_INPUT"),
    "a mistake": ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
    "two roots": ("subscription { imageSaved { cursor } datasetChanged { cursor } }", "GRAPHQL_VALIDATION_FAILED"),
    "no GraphQL": ("subscription {", "GRAPHQL_PARSE_FAILED"),
    "too much": (
        f"subscription {{ imageSaved {{ image {{ dataset {{ {doubled(5)} }} }} }} }}",
        "QUERY_TOO_COMPLEX",
    ),
}


@pytest.mark.parametrize("query", REFUSED)
def test_a_subscription_is_refused_alike_over_every_way(server: Server, query: str) -> None:
    text, expected = REFUSED[query]
    if query != "a stranger":
        with connected(server) as client:
            client.begin()
            client.subscribe(text)
            assert client.error() == expected
            client.subscribe("{ untrained { title } }")
            assert client.event() == {"title": "untrained"}
    else:
        server.token = "a-token-that-nobody-knows"
    with streaming(server, SSE, text, after=None) as response:
        ((_, data), end) = list(events(response))
        assert data["errors"][0]["extensions"]["code"] == expected
        assert "data" not in data
        assert end == ("complete", None)
    with streaming(server, MULTIPART, text, after=None) as response:
        response.read()
        assert response.headers["content-type"].startswith("application/json")
        assert code(response) == expected
        assert "data" not in response.json()
