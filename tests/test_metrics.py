"""What is counted and measured for Prometheus, read by the parsers of its own Python library."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import mysql
from tests.chaos.relay import relaying
from tests.front_door import QUERY, code, send
from tests.live import MULTIPART, SSE, connected, events, following, parts, streaming
from tests.octets import until_closed
from tests.persisted import hashed, sha256_of
from tests.photos import photo
from tests.rivals import name_against_a_rival
from tests.rows import put_images, sql, untrained_pk
from tests.scrapes import Samples, await_value, read, value
from tests.servers import Server, running, settings_for
from tests.waiting import wait_until


def test_operations_are_counted_by_type_outcome_and_code(watched: Server, place: str) -> None:
    for _ in range(3):
        watched.data(QUERY)
    watched.codes("{ nothing }")
    watched.data('mutation { createDataset(input: {title: "Lunch"}) { dataset { title } } }')
    watched.codes("mutation { removeImage(input: {pk: 0}) { image { pk } } }")
    watched.codes("{ images(first: 5000) { totalCount } untrained { title } }")
    send(watched, content=b"no JSON", headers={"content-type": "application/json"})
    now = read(place)
    count = "operation_duration_seconds_count"
    assert value(now, count, operation="query", outcome="ok") == 3
    assert value(now, count, operation="mutation", outcome="errors") == 1
    assert value(now, count, operation="mutation", outcome="ok") == 1
    assert value(now, count, operation="unknown", outcome="refused") == 2
    assert value(now, "operation_duration_seconds_sum", operation="query", outcome="ok") > 0
    assert value(now, "errors_total", code="GRAPHQL_VALIDATION_FAILED") == 1
    assert value(now, "errors_total", code="NOT_FOUND") == 1
    assert value(now, "errors_total", code="BAD_REQUEST") == 1
    assert value(now, "http_requests_total", route="graphql", status="200") == 7
    assert value(now, "http_requests_total", route="graphql", status="400") == 1
    assert value(now, "executions_total", executor="planner") == 4
    assert value(now, "executions_total", executor="graphql-core") == 2
    assert value(now, "documents_total", source="remembered") == 2
    assert value(now, "documents_total", source="prepared") == 5
    assert value(now, "executions_total", executor="planner") == 4
    assert value(now, "executions_total", executor="graphql-core") == 2
    assert value(now, "tokens_total", source="user_server") == 1
    assert value(now, "user_server_duration_seconds_count", answer="accepted") == 1


def test_a_document_that_many_send_at_once_is_prepared_once(watched: Server, place: str) -> None:
    watched.data("{ __typename }")  # so that all are known
    with ThreadPoolExecutor(16) as senders:
        answers = list(senders.map(watched.data, [QUERY] * 64))
    assert all(answer == answers[0] for answer in answers)
    now = read(place)
    assert value(now, "documents_total", source="prepared") == 2
    assert value(now, "documents_total", source="remembered") == 63


@pytest.mark.parametrize("way", ["a stream", "a WebSocket"])
def test_a_document_is_looked_for_once_also_where_it_may_be_a_subscription(
    watched: Server, place: str, way: str
) -> None:
    if way == "a stream":
        for _ in range(3):
            watched.post(QUERY, accept="application/json, text/event-stream")
    else:
        with connected(watched) as client:
            client.begin()
            for _ in range(3):
                client.subscribe(QUERY)
                client.event()
                assert client.receive()["type"] == "complete"
    now = read(place)
    assert value(now, "documents_total", source="prepared") == 1
    assert value(now, "documents_total", source="remembered") == 2


def test_subscribers_are_counted_while_they_follow_and_by_what_ends_them(watched: Server, place: str) -> None:
    saved = watched.save(photo())["pk"]
    with following(watched) as client, streaming(watched, SSE) as sse, streaming(watched, MULTIPART) as multipart:
        assert client.event()["image"]["pk"] == saved
        told, pieces = events(sse), parts(multipart)
        assert next(told)[0] == "next"
        assert next(pieces)["payload"]
        client.subscribe(QUERY, "2")
        client.event("2")
        now = read(place)
        for transport in ("websocket", "event-stream", "multipart"):
            assert value(now, "live_connections", transport=transport) == 1
            assert value(now, "subscriptions_running", transport=transport) == 1
        assert value(now, "operation_duration_seconds_count", operation="query", outcome="ok") == 1
        del watched.user_server.users[watched.token or ""]
        client.closed()
        *_, end = told
        assert end == ("complete", None)
        assert list(pieces)[-1]["errors"]
    with connected(watched, headers={"authorization": "Bearer a-stranger"}) as client:
        client.send(type="connection_init")
        client.closed()
    await_value(place, 3, "subscriptions_cut_off_total", code="UNAUTHENTICATED")
    await_value(place, 0, "live_connections", transport="websocket")
    now = read(place)
    for transport in ("websocket", "event-stream", "multipart"):
        await_value(place, 0, "subscriptions_running", transport=transport)
        assert value(now, "subscriptions_begun_total", transport=transport) == 1
    assert value(now, "operation_duration_seconds_count", operation="subscription", outcome="ok") == 3
    assert value(now, "live_connections_refused_total", code="UNAUTHENTICATED") == 1


def test_what_graphql_core_must_tell_is_counted_as_its_own_and_errors_of_events_as_all_others(
    watched: Server, place: str
) -> None:
    pk = untrained_pk(watched)
    good, large = put_images(watched, pk, [{"byte_size": size} for size in (1, 2**40)])  # which is no Int of GraphQL
    change = "INSERT INTO dataset_change (kind, dataset_info_pk, image_info_pk, created_at) VALUES (?, ?, ?, ?)"
    sql(watched, change, ["IMAGE_SAVED", pk, large, datetime.now(UTC)])
    with following(
        watched, "subscription($after: String) { imageSaved(after: $after) { image { byteSize } } }"
    ) as client:
        assert client.receive()["payload"]["errors"]
    removal = "removeImage(input: {pk: %d}) { image { byteSize } }"
    assert len(watched.codes(f"mutation {{ a: {removal % good} b: {removal % large} }}")) == 1
    now = read(place)
    assert value(now, "errors_total", code="BAD_USER_INPUT") == 2
    assert value(now, "executions_total", executor="graphql-core") == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_stream_is_no_slow_request_for_staying_open(watched: Server, place: str) -> None:
    began = time.monotonic()
    watched.save(photo())
    with streaming(watched, SSE) as sse:
        next(events(sse))
        to_begin = time.monotonic() - began
        time.sleep(1)
    await_value(place, 2, "http_request_duration_seconds_count", route="graphql")
    assert value(read(place), "http_request_duration_seconds_sum", route="graphql") < to_begin + 1


def test_uploads_are_counted_by_what_became_of_them(watched: Server, place: str) -> None:
    content = photo()
    watched.save(content)
    watched.save(content)
    watched.upload(b"no picture")
    watched.upload(photo(seed=2), confidence=2)
    now = read(place)
    assert value(now, "uploads_total", outcome="saved") == 1
    assert value(now, "uploads_total", outcome="known") == 1
    assert value(now, "uploads_refused_total", code="IMAGE_UNREADABLE") == 1
    assert value(now, "uploads_refused_total", code="BAD_USER_INPUT") == 1
    assert value(now, "upload_bytes_total") == 2 * len(content)
    assert value(now, "upload_duration_seconds_count") == 4
    assert value(now, "database_transaction_duration_seconds_count") == 2
    assert value(now, "database_connections") >= 1
    for idle in ("database_connections_used", "database_connections_awaited", "pictures_decoding", "pictures_awaited"):
        assert value(now, idle) == 0


def test_documents_that_are_named_are_counted_where_they_are_found(watched: Server, place: str) -> None:
    assert code(send(watched, json=hashed(QUERY))) == "PERSISTED_QUERY_NOT_FOUND"
    for request in ({"query": QUERY, **hashed(QUERY)}, hashed(QUERY), {"documentId": sha256_of(QUERY)}):
        assert send(watched, json=request).json()["data"]
    now = read(place)
    assert value(now, "documents_named_total") == 2
    assert value(now, "errors_total", code="PERSISTED_QUERY_NOT_FOUND") == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_long_document_is_prepared_for_a_stranger(watched: Server, place: str, method: str) -> None:
    watched.token = "a-token-that-nobody-knows"
    query = f"{{ untrained {{ {'pk ' * 2000} }} }}"
    sent: dict[str, Any] = {"params" if method == "GET" else "json": {"query": query}}
    answer = send(watched, method, **sent)
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["UNAUTHENTICATED"]
    now = read(place)
    assert value(now, "documents_total", source="prepared") == 0
    assert value(now, "user_server_duration_seconds_count", answer="refused") == 1


def test_what_is_no_request_is_counted(watched: Server, place: str) -> None:
    port = int(watched.url.rpartition(":")[2])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"RUBBISH\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert value(read(place), "http_requests_total", route="other", status="400") == 3


@pytest.mark.parametrize("wish", ["close", "close, upgrade\r\nupgrade: h2c"])
def test_what_comes_behind_a_request_that_wishes_to_close_is_not_counted(
    watched: Server, place: str, wish: str
) -> None:
    port = int(watched.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: {wish}\r\n\r\nRUBBISH\r\n\r\n".encode())
        assert until_closed(connection).count(b"HTTP/1.1 ") == 1
    counted = {labels: count for (name, labels), count in read(place).items() if name == "http_requests_total"}
    assert counted == {(("route", "healthz"), ("status", "200")): 1}


def test_buckets_add_up_and_every_duration_is_in_one(watched: Server, place: str) -> None:
    watched.data(QUERY)
    labels = {"operation": "query", "outcome": "ok"}
    buckets = [
        (float(dict(key)["le"]), count)
        for (name, key), count in read(place).items()
        if name == "operation_duration_seconds_bucket" and labels.items() <= dict(key).items()
    ]
    assert [edge for edge, _ in buckets] == sorted(edge for edge, _ in buckets)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1] == (float("inf"), 1)


def test_a_user_server_that_is_away_is_counted(watched: Server, place: str) -> None:
    watched.user_server.answer = httpx.ConnectError("away")
    assert watched.codes(QUERY) == ["USER_SERVER_UNAVAILABLE"]
    now = read(place)
    assert value(now, "user_server_duration_seconds_count", answer="unavailable") == 1
    assert value(now, "errors_total", code="USER_SERVER_UNAVAILABLE") == 1


def test_a_database_that_is_frozen_is_counted_with_those_who_wait_for_its_connections(
    migrated_mysql: str, media_root: Path, place: str
) -> None:
    host, _, port = place.partition(":")
    own = {"metrics": (host, int(port)), "database_pool": 2, "database_seconds": 4.0}
    mysql.empty(migrated_mysql)
    with relaying(migrated_mysql) as (url, relay), running(settings_for(url, media_root, **own)) as server:
        relay.freeze()
        with ThreadPoolExecutor(5) as threads:
            answers = [threads.submit(server.codes, QUERY) for _ in range(5)]
            frozen = await_all(place, 5)
            assert [answer.result() for answer in answers] == [["DATABASE_UNAVAILABLE"]] * 5
        relay.thaw()
        # A connection is free when MySQL has ended what ran on it.
        wait_until(lambda: value(read(place), "database_connections_used") == 0)
        now = read(place)
    assert value(frozen, "database_connections_used") + value(frozen, "database_connections_awaited") == 5
    assert value(now, "database_connections_awaited") == 0
    assert value(now, "database_unavailable_total") == value(now, "errors_total", code="DATABASE_UNAVAILABLE") == 5


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_a_transaction_that_met_a_deadlock_is_counted_with_its_further_attempt(watched: Server, place: str) -> None:
    asyncio.run(name_against_a_rival(watched))
    now = read(place)
    assert value(now, "database_transactions_tried_again_total") == 1
    assert value(now, "database_transaction_duration_seconds_count") == 1


def await_all(place: str, tasks: int) -> Samples:
    """The first scrape by which so many tasks have a connection or wait for one."""
    scrapes: list[Samples] = []

    def all_there() -> bool:
        scrapes.append(now := read(place))
        return value(now, "database_connections_used") + value(now, "database_connections_awaited") == tasks

    wait_until(all_there, pause=0.0)
    return scrapes[-1]
