"""What Prometheus reads: the figures of one worker, served by a thread of its own on a port of its own.

A port for each worker, because what belongs to one process (connections, memory) cannot be told by another; and not
the clients' port, because it is no business of theirs. The thread answers also while the event loop does not.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar, cast
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from graphql_server.album import Album
from graphql_server.figures import BOUNDS, Durations, Traffic
from graphql_server.http.live import Live
from graphql_server.users import Users

PREFIX = "dataset_server_"
EDGES = [*(str(bound) for bound in BOUNDS), "+Inf"]
SECONDS_BETWEEN_TRIES = 1.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figures(Collector):
    """Everything that one server counts. Labels have few values, and none that a client could choose."""

    traffic: Traffic
    live: Live
    album: Album
    users: Users

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._operations()
        yield from self._subscriptions()
        yield from self._database()
        yield from self._users()
        yield from self._uploads()

    def _requests(self) -> Iterable[Metric]:
        statuses, durations = self.traffic.statuses, self.traffic.durations
        yield _counter("http_requests", "HTTP requests.", statuses, "route", "status")
        yield _histogram(
            "http_request_duration",
            "From an HTTP request's head to its answer's end, or to the head of one that stays open.",
            durations,
            "route",
        )

    def _operations(self) -> Iterable[Metric]:
        service, operations = self.live.service, self.live.service.operations
        executor, documents = service.executor, service.executor.documents
        told = "GraphQL operations, from their text to their answer; refused: not run; errors: perhaps with data."
        yield _histogram("operation_duration", told, operations.durations, "operation", "outcome")
        yield _counter("errors", "Errors in answers to GraphQL operations.", operations.codes, "code")
        sources = {"remembered": documents.found, "prepared": documents.prepared}
        yield _counter("documents", "GraphQL documents, remembered or parsed and validated.", sources, "source")
        yield _counter("documents_named", "GraphQL documents that were named and found, not sent.", service.named)
        runs = {"planner": executor.planned, "graphql-core": executor.handed_over}
        yield _counter(
            "executions",
            "GraphQL operations that were run, by what made their answer; errors are graphql-core's.",
            runs,
            "executor",
        )
        yield _gauge("documents_remembered", "GraphQL documents that are remembered.", len(documents))

    def _subscriptions(self) -> Iterable[Metric]:
        figures = self.live.subscriptions
        yield _gauge("live_connections", "Connections that stay open.", figures.connections, "transport")
        yield _counter("live_connections_refused", "Connections that were not taken.", figures.refused, "code")
        yield _gauge("subscriptions_running", "Subscriptions that run.", figures.running, "transport")
        yield _counter("subscriptions_begun", "Subscriptions that have begun.", figures.begun, "transport")
        told = "Subscriptions that the server ended: the token died, it was too slow, the server stops."
        yield _counter("subscriptions_cut_off", told, figures.cut_off, "code")

    def _database(self) -> Iterable[Metric]:
        engine, figures = self.album.database.engine, self.album.database.figures
        yield _gauge("database_connections", "Connections, used or not.", engine.connections)
        yield _gauge("database_connections_used", "Connections in use.", engine.slots.used)
        yield _gauge("database_connections_awaited", "Tasks that wait for a connection.", engine.slots.waiting)
        yield _histogram("database_statement_duration", "Statements outside transactions.", figures.alone)
        yield _histogram("database_transaction_duration", "Transactions, all attempts.", figures.transactions)
        yield _counter("database_transactions_tried_again", "Attempts that met a deadlock.", figures.tried_again)
        yield _counter("database_unavailable", "Failures because the database was away.", figures.unavailable)

    def _users(self) -> Iterable[Metric]:
        figures = self.users.figures
        sources = {"remembered": figures.remembered, "user_server": figures.asked}
        yield _counter("tokens", "Tokens, judged from memory or by the user server.", sources, "source")
        yield _histogram("user_server_duration", "Answers of the user server.", figures.answers, "answer")

    def _uploads(self) -> Iterable[Metric]:
        uploads, slots = self.album.uploads, self.album.decoder.slots
        outcomes = {"saved": uploads.saved, "known": uploads.known}
        yield _counter("uploads", "Photos that were saved, or were there already.", outcomes, "outcome")
        yield _counter("uploads_refused", "Photos that were not saved.", uploads.refused, "code")
        yield _counter("upload_bytes", "Bytes of photos that were staged.", uploads.bytes)
        yield _histogram("upload_duration", "From a photo's arrival to its row and file.", uploads.durations)
        yield _gauge("pictures_decoding", "Pictures that are being decoded, small ones left out.", slots.used)
        yield _gauge("pictures_awaited", "Pictures that wait for a decoder.", slots.waiting)


def _counter(name: str, told: str, values: "int | Mapping[Any, int]", *labels: str) -> Metric:
    return _numbers(CounterMetricFamily(PREFIX + name, told, labels=labels), values)


def _gauge(name: str, told: str, values: "int | Mapping[Any, int]", *labels: str) -> Metric:
    return _numbers(GaugeMetricFamily(PREFIX + name, told, labels=labels), values)


def _numbers(metric: CounterMetricFamily | GaugeMetricFamily, values: "int | Mapping[Any, int]") -> Metric:
    for key, value in _series(values):
        metric.add_metric(key, value)
    return metric


def _histogram(name: str, told: str, values: "Durations | Mapping[Any, Durations]", *labels: str) -> Metric:
    metric = HistogramMetricFamily(PREFIX + name, told, labels=labels, unit="seconds")
    for key, durations in _series(values):
        metric.add_metric(key, list(zip(EDGES, accumulate(durations.counts), strict=True)), durations.seconds)
    return metric


def _series(values: "T | Mapping[Any, T]") -> list[tuple[list[str], T]]:
    """The values with their labels; the event loop may add some meanwhile, so a copy is gone through."""
    if not isinstance(values, Mapping):
        return [([], values)]
    return [(_labels(key), value) for key, value in dict(cast("Mapping[Any, T]", values)).items()]


def _labels(key: object) -> list[str]:
    return [str(label) for label in cast("tuple[object, ...]", key)] if isinstance(key, tuple) else [str(key)]


@asynccontextmanager
async def served(figures: Figures, addresses: Sequence[tuple[str, int]]) -> AsyncGenerator[None]:
    """Serve the figures at the first address and port that is free, until the block ends."""
    registry = CollectorRegistry()
    registry.register(figures)
    for about_the_process in (ProcessCollector, PlatformCollector, GCCollector):
        about_the_process(registry=registry)
    listening = asyncio.create_task(_listen(registry, addresses))
    await asyncio.sleep(0)  # It listens now, unless a worker that this one replaces has not gone yet.
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        if not listening.cancelled():
            server = listening.result()
            await asyncio.to_thread(server.shutdown)
            server.server_close()


async def _listen(registry: CollectorRegistry, addresses: Sequence[tuple[str, int]]) -> WSGIServer:
    while True:
        for host, port in addresses:
            with suppress(OSError):
                return start_http_server(port, host, registry)[0]
        await asyncio.sleep(SECONDS_BETWEEN_TRIES)
