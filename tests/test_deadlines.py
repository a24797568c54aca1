"""An operation ends in time: a query is cut off, a mutation begins nothing more, and what is done is told as done."""

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graphql_server import pictures
from graphql_server.album import SAVES_AT_ONCE
from tests.chaos.mysql import stranger
from tests.chaos.relay import Relay, relaying
from tests.front_door import codes
from tests.holdings import assert_whole, holdings
from tests.parts import ask, merged
from tests.photos import photo
from tests.scrapes import await_value, read, value
from tests.servers import Server, running, settings_for
from tests.waiting import wait_until

SECONDS = 2.0
TIMED_OUT = "OPERATION_TIMED_OUT"


@pytest.fixture
def engine() -> str:
    """Only MySQL can be made slow from outside."""
    return "mysql"


@pytest.fixture
def slow(database_url: str, media_root: Path, place: str) -> Generator[tuple[Server, Relay]]:
    """A server whose operations may take two seconds, and a relay that can slow its database down."""
    host, _, port = place.partition(":")
    with relaying(database_url) as (url, relay):
        settings = settings_for(
            url, media_root, operation_seconds=SECONDS, database_seconds=20.0, metrics=(host, int(port))
        )
        with running(settings) as server:
            server.data("{ untrained { pk } }")
            yield server, relay


# One after the other, which takes six seconds where each takes 0.3.
PAGES = " ".join(f'a{n}: images(filter: {{originalFileName: {{contains: "{n}"}}}}) {{ totalCount }}' for n in range(19))


@pytest.mark.parametrize("more", ["", "_service { sdl }"], ids=["planner", "graphql-core"])
def test_a_query_of_many_slow_statements_ends_in_one_error_and_frees_its_connections(
    slow: tuple[Server, Relay], place: str, more: str
) -> None:
    server, relay = slow
    before = value(read(place), "database_statement_duration_seconds_count")
    relay.delay = 0.3
    result = server.result(f"{{ {more} {PAGES} }}")
    assert codes(result) == [TIMED_OUT]
    assert result["data"] is None
    relay.delay = 0
    await_value(place, 0, "database_connections_used")  # nothing goes on behind it
    assert value(read(place), "database_statement_duration_seconds_count") - before < 7
    assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}


def test_what_is_put_off_for_later_parts_ends_in_time_too(slow: tuple[Server, Relay], place: str) -> None:
    server, _ = slow
    with stranger(server.settings.database_url) as other, ThreadPoolExecutor() as threads:
        other.run("LOCK TABLES image_info WRITE")
        asked = threads.submit(lambda: merged(ask(server, f"{{ untrained {{ title ... @defer {{ {PAGES} }} }} }}")))
        time.sleep(SECONDS + 1)
        other.run("UNLOCK TABLES")  # what was begun ends now, and nothing more is begun
    parts = asked.result()
    assert parts.data == {"untrained": {"title": "untrained"}}
    assert {error["extensions"]["code"] for error in parts.errors} == {TIMED_OUT}
    assert value(read(place), "database_statement_duration_seconds_count") < 10


def test_a_mutation_does_what_it_has_begun_and_begins_nothing_after_its_time(slow: tuple[Server, Relay]) -> None:
    server, relay = slow
    images = [server.save(photo(seed=seed))["pk"] for seed in range(8)]
    relay.delay = 0.1
    fields = " ".join(f"a{pk}: removeImage(input: {{pk: {pk}}}) {{ dataset {{ title }} }}" for pk in images)
    result = server.result(f"mutation {{ {fields} }}")
    relay.delay = 0
    removed = [pk for pk in images if result["data"][f"a{pk}"]]
    assert 0 < len(removed) < len(images)
    assert codes(result) == [TIMED_OUT] * (len(images) - len(removed))
    left = {node["pk"] for node in server.data("{ images { nodes { pk } } }")["images"]["nodes"]}
    assert left == set(images) - set(removed)
    assert_whole(server.settings)


def test_of_many_fixes_those_that_are_told_as_saved_are_saved_and_no_others(slow: tuple[Server, Relay]) -> None:
    server, relay = slow
    relay.delay = 0.1
    inputs = [{"file": None, "modelDegree": 0, "confidence": 1, "userFixDegree": 0} for _ in range(8)]
    result = server.send_form(
        "mutation($inputs: [SaveFixInput!]!) { saveFixes(inputs: $inputs) { image { pk dataset { title } } } }",
        {"inputs": inputs},
        {str(number): [f"variables.inputs.{number}.file"] for number in range(8)},
        {str(number): ("a.jpg", photo(seed=number)) for number in range(8)},
    ).json()
    relay.delay = 0
    saved = [payload["image"]["pk"] for payload in result["data"]["saveFixes"] if payload]
    assert 0 < len(saved) < 8
    assert codes(result) == [TIMED_OUT] * (8 - len(saved))
    assert {node["pk"] for node in server.data("{ images { nodes { pk } } }")["images"]["nodes"]} == set(saved)
    assert_whole(server.settings)


def test_a_save_whose_transaction_takes_longer_is_told_with_all_that_was_asked_of_it(
    slow: tuple[Server, Relay],
) -> None:
    server, relay = slow
    relay.delay = 0.5  # there are seven statements
    image = server.save(photo())
    assert image["dataset"]["title"] == "untrained"


def test_what_is_asked_of_a_change_has_its_time_too(slow: tuple[Server, Relay], place: str) -> None:
    server, relay = slow
    pk = server.save(photo())["pk"]
    relay.delay = 0.3
    result = server.result(f"mutation {{ removeImage(input: {{pk: {pk}}}) {{ dataset {{ {PAGES} }} }} }}")
    assert set(codes(result)) == {TIMED_OUT}
    assert result["errors"][0]["message"].startswith("There was no time left to read")
    assert value(read(place), "database_statement_duration_seconds_count") < 15
    relay.delay = 0
    assert server.data("{ images { totalCount } }") == {"images": {"totalCount": 0}}


def test_a_save_waits_for_its_turn_no_longer_than_it_may(slow: tuple[Server, Relay]) -> None:
    server, _ = slow
    before = holdings(server.settings)
    with ThreadPoolExecutor(SAVES_AT_ONCE + 4) as threads:
        with stranger(server.settings.database_url) as other:
            other.run("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            saves = [threads.submit(server.upload, photo(seed=seed, size=(8, 8))) for seed in range(SAVES_AT_ONCE + 4)]
            wait_until(lambda: sum(save.done() for save in saves) == 4)
            late = [save.result() for save in saves if save.done()]
        results = [save.result() for save in saves]
    assert [codes(result) for result in late] == [[TIMED_OUT]] * 4
    assert len([result for result in results if "errors" not in result]) == SAVES_AT_ONCE
    assert before != holdings(server.settings)
    assert_whole(server.settings)


def test_a_picture_that_is_decoded_for_too_long_is_an_error_and_keeps_its_decoder_until_it_is_done(
    slow: tuple[Server, Relay], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped: whoever waits for it is told, and what it holds counts as held."""
    server, _ = slow
    decode, done = pictures.inspect, threading.Event()

    def stubborn(path: Path, max_pixels: int) -> pictures.Picture:
        done.wait(60)
        return decode(path, max_pixels)

    monkeypatch.setattr(pictures, "inspect", stubborn)
    try:
        assert codes(server.upload(photo(size=(1200, 1000)))) == [TIMED_OUT]
        assert value(read(place), "pictures_decoding") == 1
    finally:
        done.set()
    assert value(read(place), "uploads_refused_total", code=TIMED_OUT) == 1
    assert_whole(server.settings)
    server.save(photo(size=(1200, 1000)))
    await_value(place, 0, "pictures_decoding")


def test_one_timer_looks_after_all_queries(slow: tuple[Server, Relay]) -> None:
    """Those that begin while others run have their own time, and those that are done are not cut off."""
    server, relay = slow
    with ThreadPoolExecutor(2) as threads:
        relay.delay = 0.1
        list(threads.map(server.data, ["{ untrained { title } }"] * 2))  # each makes a connection
        relay.delay = 0.3
        first = threads.submit(server.result, f"{{ {PAGES} }}")
        time.sleep(SECONDS / 2)
        second = threads.submit(server.result, "{ untrained { title } }")
        assert codes(first.result()) == [TIMED_OUT]
        assert second.result() == {"data": {"untrained": {"title": "untrained"}}}
