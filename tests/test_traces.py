"""The spans of a server in production, as a receiver of OpenTelemetry's protocol gets them over HTTP."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from graphql_server import migrations
from graphql_server.app import create_app
from graphql_server.traces import Tracing
from tests.commands import Run, assert_one_line
from tests.front_door import QUERY, send
from tests.parts import ACCEPT
from tests.photos import photo
from tests.processes import PROJECT, command, server_of, settings_of, started, users_listening
from tests.servers import KEY, TOKEN, Server, UserServer, listening, settings_for
from tests.together import REMOVE

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HONOURED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@dataclass
class Collector:
    """A receiver of OTLP over HTTP; `requests` are as they came."""

    url: str = ""
    requests: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])

    def spans(self) -> list[Span]:
        return [span for _, body in self.requests for span in _spans(body)]

    def services(self) -> set[str]:
        resources = [part.resource for _, body in self.requests for part in _decoded(body).resource_spans]
        return {a.value.string_value for r in resources for a in r.attributes if a.key == "service.name"}


def _decoded(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def _spans(body: bytes) -> list[Span]:
    return [span for part in _decoded(body).resource_spans for scope in part.scope_spans for span in scope.spans]


@contextmanager
def collecting() -> Generator[Collector]:
    collector = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.requests.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def path(span: Span, spans: list[Span]) -> list[str]:
    """The names from the outermost span to this one."""
    (parent, *_) = [*(other for other in spans if other.span_id == span.parent_span_id), None]
    return [*(path(parent, spans) if parent else []), span.name]


def act(server: Server) -> list[dict[str, Any]]:
    """One of everything, in one trace but for the last; gives the answers."""
    query = "query Listed($title: String!) { datasets(filter: {title: {equals: $title}}) { nodes { pk } } }"
    large = photo(size=(2400, 1800))  # A small one is decoded where it is staged.
    listed = {"query": query, "operationName": "Listed", "variables": {"title": "a-secret-title"}}
    form = {"file": None, "modelDegree": 90, "confidence": 0.5, "userFixDegree": 0, "originalFileName": "a-secret-name"}
    save = "mutation Saved($input: SaveFixInput!) { saveFix(input: $input) { image { pk } } }"
    told = [
        send(server, json=listed, headers=HONOURED),
        server.send_form(save, {"input": form}, {"0": ["variables.input.file"]}, {"0": ("x.jpg", large)}, **HONOURED),
        server.post("mutation { removeImage(input: {pk: 424242}) { image { pk } } }", {}, **HONOURED),
        server.get("/media/1/none.jpg?expires=1&signature=a-secret-signature"),
        server.get("/readyz"),
    ]
    server.post("{ untrained { pk ... @defer { title } } }", {}, accept=ACCEPT, **HONOURED)
    return [answer.json() for answer in told]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Collector, list[dict[str, Any]]]:
    """What a server's clients and its collector were told."""
    folder = tmp_path_factory.mktemp("traces")
    url = f"sqlite://{folder / 'test.db'}"
    if request.param == "mysql":
        url = request.getfixturevalue("migrated_mysql")
    else:
        asyncio.run(migrations.run(url, lambda name: None))
    with users_listening() as users, collecting() as collector:
        settings = settings_of(url, folder / "media", users)
        with started(folder, "serve", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **settings) as process:
            answers = act(server_of(process, settings))
            assert process.terminate() == 0
        assert process.errors.read_text() == ""
        ids = {line["trace_id"] for line in process.log() if line.get("path") == "/graphql"}
        assert ids == {TRACE}
        return collector, answers


Told = tuple[Collector, list[dict[str, Any]]]


def test_every_span_of_a_request_is_below_the_clients_own(told: Told) -> None:
    collector, answers = told
    assert ["data" in answer for answer in answers] == [True, True, True, False, False]
    assert {place for place, _ in collector.requests} == {"/v1/traces"}
    assert collector.services() == {"dataset-server"}
    spans = [span for span in collector.spans() if span.trace_id.hex() == TRACE]
    outermost = [span for span in spans if span.parent_span_id.hex() == PARENT]
    assert [span.name for span in outermost] == ["POST /graphql"] * 4
    assert all(span.kind == Span.SPAN_KIND_SERVER for span in outermost)
    assert all(path(span, spans)[0] == "POST /graphql" for span in spans)
    (other,) = [span for span in collector.spans() if span.trace_id.hex() != TRACE]
    assert (other.name, attributes(other)["http.response.status_code"]) == ("GET /media", 404)


def test_operations_statements_questions_and_the_steps_of_a_save_have_spans(told: Told) -> None:
    spans = told[0].spans()
    paths = [path(span, spans) for span in spans]
    read = ["POST /graphql", "graphql query"]
    save = ["POST /graphql", "graphql mutation"]
    assert [*read, "ask user server"] in paths or ["POST /graphql", "ask user server"] in paths
    assert any(found[:2] == read and found[-1] == "SELECT" for found in paths)
    for steps in (["stage file"], ["decode picture"], ["transaction"], ["transaction", "place file"]):
        assert [*save, *steps] in paths, paths
    for statement in ("SELECT", "INSERT", "COMMIT"):
        assert [*save, "transaction", statement] in paths, paths


def test_operations_and_statements_say_what_they_are_as_the_conventions_have_it(told: Told) -> None:
    spans = told[0].spans()
    read, saved, removed, later = (attributes(span) for span in spans if span.name.startswith("graphql "))
    assert (read["graphql.operation.type"], read["graphql.operation.name"]) == ("query", "Listed")
    assert saved["graphql.operation.type"] == "mutation"
    assert removed["error.type"] == "NOT_FOUND"
    assert later["graphql.operation.type"] == "query"
    statements = [span for span in spans if span.name in ("SELECT", "INSERT")]
    assert all(span.kind == Span.SPAN_KIND_CLIENT for span in statements)
    assert {attributes(span)["db.system.name"] for span in statements} <= {"sqlite", "mysql"}
    assert all(attributes(span)["db.query.text"].startswith(span.name) for span in statements)
    assert not [span for span in spans if span.status.code == Status.STATUS_CODE_ERROR]


def test_no_span_holds_what_a_client_keeps_to_itself(told: Told) -> None:
    sent = b"".join(body for _, body in told[0].requests)
    secrets = (TOKEN, KEY, "a-secret-title", "a-secret-name", "a-secret-signature", "424242", "x.jpg")
    assert [secret for secret in secrets if secret.encode() in sent] == []


@pytest.mark.parametrize("engine", ["sqlite"])
def test_what_fails_is_an_error_and_what_is_refused_is_not_and_both_tell_their_code_alone(
    database_url: str, media_root: Path
) -> None:
    exporter, provider, user_server = InMemorySpanExporter(), TracerProvider(), UserServer()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings = settings_for(database_url, media_root, auth_cache_seconds=0.0)
    with listening(create_app(settings, httpx.MockTransport(user_server), tracing=Tracing(provider))) as url:
        server = Server(url, settings, user_server)
        assert server.codes(REMOVE, {"pk": 4711}) == ["NOT_FOUND"]
        user_server.answer = httpx.ConnectError("a-secret-place")
        assert server.codes(QUERY) == ["USER_SERVER_UNAVAILABLE"]
    spans = {span.name: span for span in exporter.get_finished_spans()}
    for name, code, failed in (
        ("transaction", "NOT_FOUND", False),
        ("graphql mutation", "NOT_FOUND", False),
        ("ask user server", "USER_SERVER_UNAVAILABLE", True),
        ("graphql query", "USER_SERVER_UNAVAILABLE", True),
    ):
        assert (spans[name].attributes or {})["error.type"] == code
        assert (name, spans[name].status.status_code is StatusCode.ERROR) == (name, failed)
    assert not any(span.events or span.status.description for span in spans.values())


def test_without_an_address_opentelemetry_is_not_even_imported(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
import uvicorn
from uvicorn.lifespan.on import LifespanOn
from graphql_server import migrations, serving
async def main():
    await migrations.run(os.environ["DATABASE_URL"], lambda name: None)
    config = uvicorn.Config(serving.production(), log_config=None)
    config.load()
    lifespan = LifespanOn(config)
    await lifespan.startup()
    print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "google"))))
    await lifespan.shutdown()
asyncio.run(main())
"""
    environ = settings_of(f"sqlite://{tmp_path / 'test.db'}", tmp_path / "media", "http://127.0.0.1:9/")
    for off in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**environ, **off},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "[]" in ran.stdout.splitlines(), ran.stderr


def test_an_address_without_the_library_and_a_protocol_that_is_not_spoken_are_one_line(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        assert_one_line(run("serve", **given, **{name: "grpc"}), f"{name}: only")
    given["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    given["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    monkeypatch.delitem(sys.modules, "graphql_server.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    assert_one_line(run("serve", **given), "install dataset-server[otel]")


@pytest.mark.parametrize("wrong", ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_ATTRIBUTE_COUNT_LIMIT"])
def test_a_variable_that_opentelemetry_cannot_do_with_is_one_line(environ: dict[str, str], wrong: str) -> None:
    # In a process of its own, as some variables are read where the library is imported.
    given = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", wrong: "-1"}
    ran = command("serve", **given)
    assert_one_line((ran.returncode, ran.stdout, ran.stderr), "OpenTelemetry")
