"""Spans for OpenTelemetry: requests, operations, statements, questions to the user server, the steps of a save.

They are put around one server's own objects from outside, so that a server without traces neither imports
OpenTelemetry nor takes a single step more. No span holds a token, a query string, a document, a variable or an
argument of a statement, and none the text of an error, which may repeat what was sent.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial, wraps
from importlib.metadata import version
from typing import Any

import httpx
import structlog
from opentelemetry.context import Context as Parent
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, get_current_span
from opentelemetry.trace import TracerProvider as AnyProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphql_server.album import Album
from graphql_server.engines import Engine, Session
from graphql_server.errors import DatasetServerError, SettingsError
from graphql_server.figures import route_of
from graphql_server.schema.answers import Answer
from graphql_server.schema.context import Context
from graphql_server.schema.execution import SUBSCRIPTION, Executor
from graphql_server.schema.operations import Operation
from graphql_server.schema.parts import Parts
from graphql_server.user_servers import HttpUserServer
from graphql_server.users import Users

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# By these codes the server says that it has failed; all others are refusals.
FAULTS = ("INTERNAL_SERVER_ERROR", "USER_SERVER_UNAVAILABLE", "DATABASE_UNAVAILABLE", "STORAGE_UNAVAILABLE")
# Not requests for HTTP, and those that come every few seconds and tell nothing.
UNWATCHED = ("", "healthz", "readyz")
W3C = TraceContextTextMapPropagator()


class Tracing:
    """Where spans go: to a provider of OpenTelemetry's, or where the standard's environment variables say, by OTLP."""

    def __init__(self, provider: AnyProvider | None = None) -> None:
        self._provider = provider or _exporting()
        self.tracer = self._provider.get_tracer("graphql_server", version("dataset-server"))

    @staticmethod
    def check() -> None:
        """Raise SettingsError where the environment's variables cannot be followed."""
        try:
            _exporting().shutdown()
        except ValueError as error:
            raise SettingsError(f"OpenTelemetry: {error}") from None

    def requests(self, app: ASGIApp) -> "Requests":
        """The middleware."""
        return Requests(app, self.tracer)

    @asynccontextmanager
    async def watching(self, executor: Executor, album: Album, users: Users) -> AsyncGenerator[None]:
        """Put spans around what these do, and send the last ones in the end."""
        _watch_operations(self.tracer, executor)
        _watch_statements(self.tracer, album.database.engine)
        _watch(self.tracer, album.database, "transact", "transaction")
        _watch(self.tracer, album.decoder, "inspect", "decode picture")
        for step in ("stage", "place", "remove"):
            _watch(self.tracer, album.media, step, f"{step} file")
        _watch(self.tracer, users.server, "ask", "ask user server", SpanKind.CLIENT)
        if isinstance(users.server, HttpUserServer):
            users.server.client.event_hooks["request"].append(_pass_on)
        try:
            yield
        finally:
            if isinstance(self._provider, TracerProvider):
                # A worker ends by a signal, before OpenTelemetry could send them by itself.
                await asyncio.to_thread(self._provider.force_flush)


def _exporting() -> TracerProvider:
    resource = Resource.create({"service.version": version("dataset-server")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "dataset-server"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


@contextmanager
def _span(
    tracer: Tracer,
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str] | None = None,
    parent: Parent | None = None,
) -> Generator[Span]:
    with tracer.start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            _fail(span, error.code if isinstance(error, DatasetServerError) else type(error).__name__)
            raise


def _recording() -> bool:
    """Whether there is a request that is recorded: what belongs to none, such as /readyz, tells nothing."""
    return get_current_span().is_recording()


def _fail(span: Span, code: str) -> None:
    span.set_attribute("error.type", code)
    if code in FAULTS or not code.isupper():
        span.set_status(StatusCode.ERROR)


def _watch(tracer: Tracer, thing: object, method: str, name: str, kind: SpanKind = SpanKind.INTERNAL) -> None:
    call: Callable[..., Any] = getattr(thing, method)

    @wraps(call)
    async def watched(*args: Any, **options: Any) -> Any:
        if not _recording():
            return await call(*args, **options)
        with _span(tracer, name, kind):
            return await call(*args, **options)

    setattr(thing, method, watched)


def _watch_operations(tracer: Tracer, executor: Executor) -> None:
    """Of an answer in parts, the span ends with the first, and that of a subscription when it has begun."""
    run = executor.run

    async def watched(operation: Operation, context: Context, **taken: bool) -> Answer | Parts | AsyncGenerator[Answer]:
        with _span(tracer, "graphql") as span:
            answer = await run(operation, context, **taken)
            kind = SUBSCRIPTION if isinstance(answer, AsyncGenerator) else answer.operation
            span.update_name(f"graphql {kind}")
            span.set_attribute("graphql.operation.type", kind)
            if operation.name:
                span.set_attribute("graphql.operation.name", operation.name)
            for code in () if isinstance(answer, AsyncGenerator) else answer.codes:
                _fail(span, code)
            return answer

    executor.run = watched


def _watch_statements(tracer: Tracer, engine: Engine) -> None:
    open_session = engine.session

    @asynccontextmanager
    async def session() -> AsyncGenerator[Session]:
        async with open_session() as opened:
            for thing, method in (
                (opened, "fetch"),
                (opened, "insert"),
                (opened.client, "execute_insert"),
                (opened.client, "execute_query"),
                (opened.client, "execute_query_dict"),
            ):
                _watch_statement(tracer, engine.name, thing, method)
            _watch(tracer, opened, "commit", "COMMIT", SpanKind.CLIENT)
            yield opened

    _watch_statement(tracer, engine.name, engine, "fetch")
    engine.session = session


def _watch_statement(tracer: Tracer, system: str, thing: object, method: str) -> None:
    call: Callable[..., Any] = getattr(thing, method)

    @wraps(call)
    async def watched(sql: str, *args: Any) -> Any:
        if not _recording():
            return await call(sql, *args)
        # Values are arguments and never stand in the text.
        attributes = {"db.system.name": system, "db.query.text": sql, "db.operation.name": sql.split(maxsplit=1)[0]}
        with _span(tracer, attributes["db.operation.name"], SpanKind.CLIENT, attributes):
            return await call(sql, *args)

    setattr(thing, method, watched)


async def _pass_on(request: httpx.Request) -> None:
    W3C.inject(request.headers)


class Requests:
    """A span for each HTTP request, below the one that its traceparent names; the log's lines get the trace's id."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope["path"].removeprefix(scope.get("root_path", ""))) if scope["type"] == "http" else ""
        if route in UNWATCHED:
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]}
        name = method if route == "other" else f"{method} /{route}"
        parent = W3C.extract(Headers(scope=scope))
        with _span(self._tracer, name, SpanKind.SERVER, attributes, parent) as span:
            trace_id = format_trace_id(span.get_span_context().trace_id)
            with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                await self.app(scope, receive, partial(_answer, span, send))


async def _answer(span: Span, send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        span.set_attribute("http.response.status_code", message["status"])
        if message["status"] >= 500:
            _fail(span, "INTERNAL_SERVER_ERROR")
    await send(message)
