"""What a scrape finds: which series, on which port, of which worker, and all that the dashboard asks for."""

import asyncio
import os
import re
import signal
import socket
import time
from pathlib import Path

import httpx
import orjson
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics  # pyright: ignore[reportUnknownVariableType]

from graphql_server import migrations
from tests.front_door import QUERY, send
from tests.processes import PROJECT, Process, free_port, server_of, settings_of, started, users_listening
from tests.scrapes import Samples, read, value
from tests.servers import Server, running, settings_for


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_nothing_that_a_client_chooses_makes_a_new_series(watched: Server, place: str) -> None:
    def strange(number: int) -> None:
        name = f"Chosen{number}"
        watched.post(f"query {name} {{ {name}: untrained {{ title }} }}")
        watched.post(f"{{ {name} }}")
        watched.get(f"/{name}")
        watched.get(f"/graphql/{name}")
        send(watched, method=name.upper())
        watched.post(QUERY, {}, **{"x-request-id": name, "authorization": f"Bearer {name}"})

    strange(0)
    before = read(place)
    for number in range(1, 20):
        strange(number)
    assert read(place).keys() == before.keys()
    assert not [key for key in before if "chosen" in str(key).lower()]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_figures_of_the_process_come_along_and_open_metrics_is_spoken_as_well(watched: Server, place: str) -> None:
    names = {name for name, _ in read(place)}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections_total"} <= names
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(f"http://{place}/metrics", headers=accept, trust_env=False, verify=False)
    assert {family.name for family in open_metrics(answer.text)} >= {"dataset_server_errors", "process_cpu_seconds"}


QUERIES = [
    target["expr"]
    for panel in orjson.loads((PROJECT / "deploy" / "grafana" / "dataset-server.json").read_bytes())["panels"]
    for target in panel.get("targets", ())
]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_everything_that_the_dashboard_asks_for_is_told_with_the_labels_that_it_names(
    watched: Server, place: str
) -> None:
    watched.upload(b"no picture")  # what is counted by code is there from the first one on
    told: dict[str, dict[str, set[str]]] = {}
    for name, labels in read(place):
        prefix = "" if name.startswith("process_") else "dataset_server_"
        for label, text in labels:
            told.setdefault(prefix + name, {}).setdefault(label, set()).add(text)
        told.setdefault(prefix + name, {})
    assert len(QUERIES) > 20
    for query in QUERIES:
        for name, filters in re.findall(r"((?:dataset_server|process)_\w+)\{([^}]*)\}", query):
            assert name in told, query
            for label, sign, wanted in re.findall(r'(\w+)(=~?)"([^"]*)"', filters):
                # Prometheus itself puts `instance` on; codes come with their first error.
                assert label in ("instance", *told[name]), query
                assert label in ("instance", "code") or sign != "=" or wanted in told[name][label], query
        (name, *_) = re.findall(r"(?:dataset_server|process)_\w+", query)
        for label in (label for by in re.findall(r"sum by \(([^)]*)\)", query) for label in by.split(", ")):
            assert label in told[name], query


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_clients_find_no_figures_on_their_port_and_the_other_port_is_free_again_in_the_end(
    database_url: str, media_root: Path, place: str
) -> None:
    host, _, port = place.partition(":")
    with running(settings_for(database_url, media_root, metrics=(host, int(port)))) as server:
        assert server.get("/metrics").status_code == 404
    socket.create_server((host, int(port))).close()


def test_each_worker_tells_its_figures_and_one_that_takes_the_place_of_another_does_so_too(
    new_mysql: str, tmp_path: Path
) -> None:
    asyncio.run(migrations.run(new_mysql, lambda name: None))
    first = free_pair()
    places = [f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"]
    with users_listening() as users:
        settings = settings_of(new_mysql, tmp_path / "media", users)
        with started(tmp_path, "serve", WORKERS="2", METRICS=places[0], **settings) as process:
            server = server_of(process, settings)
            await_told(places)
            for _ in range(20):
                server.data(QUERY)
            assert sum(answered(read(place)) for place in places) == 20
            os.kill(worker(process), signal.SIGKILL)
            process.await_line("worker died and was replaced")
            assert 0 in [answered(samples) for samples in await_told(places)]


def await_told(places: list[str]) -> list[Samples]:
    """What all of these tell, once they do."""
    for _ in range(300):
        try:
            return [read(place) for place in places]
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("a port tells nothing")


def answered(samples: Samples) -> float:
    return value(samples, "operation_duration_seconds_count", operation="query", outcome="ok")


def worker(process: Process) -> int:
    return int(process.await_line("Started server process")["event"].strip("]").rpartition("[")[2])


def free_pair() -> int:
    """A port that is free, as the next one is."""
    while True:
        port = free_port()
        try:
            socket.create_server(("127.0.0.1", port + 1)).close()
        except OSError:
            continue
        return port
