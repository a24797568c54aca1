"""Answers in parts on their way: when each comes, who has gone meanwhile, and what fails later."""

import dataclasses
from pathlib import Path

import pytest

from tests.chaos.mysql import stranger
from tests.nginx import fronting
from tests.parts import QUERIES, ask, merged, parting, parts_of, told
from tests.photos import photo
from tests.processes import free_port
from tests.rows import IMAGE, put_images, sql, untrained_pk
from tests.scrapes import await_value, read, value
from tests.servers import KEY, Server, running, settings_for
from tests.waiting import wait_until


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_the_head_comes_before_what_is_put_off_is_read_through_nginx_too(server: Server, tmp_path: Path) -> None:
    image = server.save(photo())
    port = int(server.url.rpartition(":")[2])
    with (
        fronting(tmp_path, server.settings.media_root, port, KEY) as front,
        stranger(server.settings.database_url) as other,
    ):
        for url in (server.url, f"http://127.0.0.1:{front.port}"):
            other.run("LOCK TABLES image_info WRITE")
            query = "{ untrained { title ... @defer { images { nodes { pk } } } } }"
            with parting(dataclasses.replace(server, url=url), query) as response:
                pieces, came = response.iter_bytes(), b""
                while came.count(b"--graphql") < 2:
                    came += next(pieces)
                assert b'{"data":{"untrained":{"title":"untrained"}}' in came
                other.run("UNLOCK TABLES")
                came += b"".join(pieces)
            assert merged(parts_of(came)).data["untrained"]["images"] == {"nodes": [{"pk": image["pk"]}]}


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_when_a_client_has_gone_what_it_waits_for_is_given_up(database_url: str, media_root: Path) -> None:
    """The only connection would otherwise be held for longer than the test waits for an answer."""
    with (
        running(settings_for(database_url, media_root, database_pool=1, database_seconds=100)) as server,
        stranger(database_url) as other,
    ):
        other.run("LOCK TABLES image_info WRITE")
        with parting(server, "{ untrained { title ... @defer { images { nodes { pk } } } } }") as response:
            pieces, came = response.iter_bytes(), b""
            while came.count(b"--graphql") < 2:
                came += next(pieces)
            wait_until(lambda: "FROM image_info" in str(sql(server, "SHOW FULL PROCESSLIST")))
        assert server.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_what_fails_later_is_told_as_what_fails_at_once(database_url: str, media_root: Path) -> None:
    query = "{ datasets { nodes { title ... @defer { images { nodes { pk } } } } } }"
    with (
        running(settings_for(database_url, media_root, database_seconds=2.0)) as server,
        stranger(database_url) as other,
    ):
        other.run("LOCK TABLES image_info WRITE")
        parts = merged(ask(server, query))
    assert parts.data["datasets"]["nodes"][0] == {"title": "untrained"}
    assert [(code, path[:3]) for code, path, _ in told(parts.errors)] == [
        ("OPERATION_TIMED_OUT", ["datasets", "nodes", 0])
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_answer_in_parts_is_one_operation_and_one_request(database_url: str, media_root: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    with running(settings_for(database_url, media_root, metrics=("127.0.0.1", int(place.partition(":")[2])))) as server:
        assert len(ask(server, QUERIES["an error after others"])) > 1
        assert len(ask(server, QUERIES["all"])) > 1
        await_value(place, 2, "http_request_duration_seconds_count", route="graphql")
        samples = read(place)
    for outcome in ("ok", "errors"):
        assert value(samples, "operation_duration_seconds_count", operation="query", outcome=outcome) == 1
    assert value(samples, "errors_total", code="BAD_USER_INPUT") == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_list_that_breaks_off_keeps_what_came_before(server: Server) -> None:
    """MySQL's keys are all integers of GraphQL."""
    put_images(server, untrained_pk(server), [{"original_file_name": f"{number}.jpg"} for number in range(150)])
    columns = ", ".join(IMAGE)
    sql(
        server,
        f"INSERT INTO image_info (pk, dataset_info_pk, {columns}) SELECT 1 << 40, 1, {columns} FROM image_info LIMIT 1",
    )
    query = "{ images(first: 1000) { nodes @stream(initialCount: 20) { pk } } }"
    assert server.result(query)["data"] is None
    parts = merged(ask(server, query))
    assert parts.data == {"images": {"nodes": [{"pk": pk} for pk in range(1, 151)]}}
    assert [(code, path) for code, path, _ in told(parts.errors)] == [
        ("BAD_USER_INPUT", ["images", "nodes", 150, "pk"])
    ]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_bug_is_masked_in_every_part(server: Server) -> None:
    put_images(server, untrained_pk(server), [{"created_at": text} for text in ("2026-11-23 10:20:30", "never")])
    fragment = "images(first: 1000) { nodes @stream(initialCount: 1) { pk createdAt } }"
    for query in (f"{{ {fragment} }}", f"{{ untrained {{ pk ... @defer {{ {fragment} }} }} }}"):
        parts = merged(ask(server, query))
        (error,) = parts.errors
        assert (error["extensions"]["code"], error["path"][-1]) == ("INTERNAL_SERVER_ERROR", "createdAt")
        assert "never" not in str(error)
        images = parts.data.get("untrained", parts.data)["images"]["nodes"]
        assert [image["createdAt"] is None for image in images] == [False, True]
