"""Puts the server together: routes, middleware, and what is opened at the start and closed at the end."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from graphql_server import columns, migrations, privileges, user_servers
from graphql_server.album import Album
from graphql_server.database import Database
from graphql_server.decoding import Decoder
from graphql_server.errors import SettingsError, StorageUnavailable
from graphql_server.feed import Feed
from graphql_server.figures import Traffic
from graphql_server.http import forms, graphiql, graphql, health, manifests, media, metrics, refusals, websocket
from graphql_server.http.live import Bounds, Live
from graphql_server.http.metrics import Figures
from graphql_server.http.persisted import Automatic, Persisted, Trusted
from graphql_server.http.request_log import RequestLog
from graphql_server.http.service import Service
from graphql_server.media import Media
from graphql_server.planner import Sure
from graphql_server.schema.documents import Documents
from graphql_server.schema.execution import Executor
from graphql_server.schema.limits import Limits
from graphql_server.settings import Settings
from graphql_server.users import Users

if TYPE_CHECKING:
    from graphql_server.traces import Tracing  # It takes OpenTelemetry, which need not be installed.

# What pages of other origins may send: also what joins traces, and the name that Apollo Client is given for itself.
ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "access_token", "X-Request-Id", "traceparent", "tracestate"),
    *("apollographql-client-name", "apollographql-client-version", *forms.PREFLIGHT_HEADERS),
)


class Resources(NamedTuple):
    """What lives as long as the server and needs its event loop."""

    album: Album
    users: Users


class Application(Starlette):
    """Starlette, but /graphql and pictures go past its layers, which cost more than most answers."""

    endpoint: ASGIApp | None = None
    pictures: Mapping[str, ASGIApp] = MappingProxyType({})  # by the paths before `/<dataset pk>/<file name>`
    entry: ASGIApp  # the whole of it, without Starlette's own call around each request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.entry(scope, receive, send)

    def route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """What lies behind the log and CORS."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        if path == "/graphql" and self.endpoint:
            return self.endpoint(scope, receive, send)
        folder, *place = path.rsplit("/", 2)
        if pictures := self.pictures.get(folder):
            scope["path_params"] = {"path": "/".join(place)}
            return pictures(scope, receive, send)
        return super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    user_transport: httpx.AsyncBaseTransport | None = None,
    tracing: "Tracing | None" = None,
    *,
    checked: bool = False,
) -> Application:
    """The whole server as an ASGI application.

    `user_transport` reaches a user server in the same process; `tracing` says where spans go; `checked` says that
    `check_operations` has been called, which takes its time where there are many.

    Its lifespan opens the database and closes it, so it must be run, by whatever it is mounted into as well
    (docs/embedding.md). It raises SettingsError where the database or PERSISTED_OPERATIONS cannot be used as they are.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
        async with opened(settings, user_transport) as (album, users):
            executor = _executor(settings, await columns.sure(album.database))
            live = _live(settings, _service(settings, executor, album, users, checked=checked))
            application.endpoint = _endpoint(settings, live)
            application.pictures = dict.fromkeys(_media_paths(settings), media.Pictures(album.media, signed=True))
            app.router.routes[:] = _routes(settings, album, live)
            # Starlette would send clients on to whatever address their Host header makes up.
            app.router.redirect_slashes = False
            figures = Figures(traffic, live, album, users)
            async with _metrics(settings, figures), _traces(tracing, executor, album, users):
                # For the protocols that speak to clients: they are told to stop, and count what is no request.
                yield {"stopping": live.stopping, "traffic": traffic}

    traffic = Traffic()
    application = Application(routes=[Mount("/", _not_opened)], lifespan=lifespan, exception_handlers=refusals.HANDLERS)
    logged = RequestLog(_cors(settings, application.route), traffic)
    application.entry = tracing.requests(logged) if tracing else logged
    return application


@asynccontextmanager
async def opened(
    settings: Settings, user_transport: httpx.AsyncBaseTransport | None = None
) -> AsyncGenerator[Resources]:
    """Open everything that a server needs, and close it again; SettingsError where something cannot be used."""
    async with AsyncExitStack() as stack:
        database = await Database.open(
            settings.database_url, pool=settings.database_pool, seconds=settings.database_seconds
        )
        stack.push_async_callback(database.close)
        await database.connect()
        await privileges.check(database)
        await migrations.check(database)
        store = Media(settings.media_root, settings.media_url, settings.media_signing_key, settings.media_url_seconds)
        try:
            await store.check_writable()
        except StorageUnavailable:
            raise SettingsError(
                f"MEDIA_ROOT={str(settings.media_root)!r} is no folder that can be written to"
            ) from None
        stack.callback(store.close)
        decoder = Decoder(settings.decoders, settings.max_pixels)
        stack.callback(decoder.close)
        users = user_servers.connect(settings, user_transport)
        stack.push_async_callback(users.aclose)
        yield Resources(Album(database, store, decoder, settings.max_upload_bytes), users)


def media_app(root: Path, keys: tuple[str, ...]) -> ASGIApp:
    """The media folder alone, at the root as the predecessor's front end expects; without keys unsigned."""
    store = Media(root, keys=keys)
    return RequestLog(Starlette(routes=media.routes(store, signed=bool(keys)), exception_handlers=refusals.HANDLERS))


def check_operations(settings: Settings) -> None:
    """Raise SettingsError where an operation that PERSISTED_OPERATIONS lists could never be run."""
    if settings.persisted_operations:
        manifests.check_by_all_cores(manifests.read(settings.persisted_operations), partial(_documents, settings))


def _documents(settings: Settings) -> Documents:
    return _executor(settings, {}).documents


def _executor(settings: Settings, sure: Mapping[tuple[str, str], Sure]) -> Executor:
    return Executor(Limits.of(settings), settings.operation_seconds, sure, introspection=settings.introspection)


def _persisted(settings: Settings, executor: Executor, *, checked: bool) -> Persisted:
    automatic = Automatic(executor.documents)
    if settings.persisted_operations is None:
        return automatic
    listed = manifests.read(settings.persisted_operations)
    if not checked:
        manifests.check(listed, executor.documents)
    return Trusted({one.identifier: one.text for one in listed}, settings.gateway_secret, automatic)


def _service(settings: Settings, executor: Executor, album: Album, users: Users, *, checked: bool) -> Service:
    persisted = _persisted(settings, executor, checked=checked)
    # A transaction has ended by then, and its changes can be seen.
    feed = Feed(album.database, settings.database_seconds + 1, settings.live_buffer)
    return Service(executor, persisted, album, feed, users)


def _live(settings: Settings, service: Service) -> Live:
    return Live(service, Bounds(connections=settings.live_connections, subscriptions=settings.live_subscriptions))


def _endpoint(settings: Settings, live: Live) -> graphql.GraphQL:
    page = partial(graphiql.page, settings.media_url) if settings.graphiql else None
    return graphql.GraphQL(live, settings.max_request_bytes, page)


def _metrics(settings: Settings, figures: Figures) -> AbstractAsyncContextManager[None]:
    return metrics.served(figures, settings.metrics_addresses) if settings.metrics else nullcontext()


def _traces(
    tracing: "Tracing | None", executor: Executor, album: Album, users: Users
) -> AbstractAsyncContextManager[None]:
    return tracing.watching(executor, album, users) if tracing else nullcontext()


def _routes(settings: Settings, album: Album, live: Live) -> list[BaseRoute]:
    return [
        websocket.route(live, settings.cors_origins),
        refusals.websockets(),
        *(graphiql.routes() if settings.graphiql else []),
        *(Mount(path, routes=media.routes(album.media)) for path in _media_paths(settings)),
        *health.routes(album),
    ]


def _media_paths(settings: Settings) -> set[str]:
    """Where pictures are served: at MEDIA_URL if it is a path, and always at /media, which a proxy may stand before."""
    # Paths of requests come decoded.
    return {"/media", unquote(settings.media_url)} if settings.media_url.startswith("/") else {"/media"}


def _cors(settings: Settings, app: ASGIApp) -> ASGIApp:
    if not settings.cors_origins:
        return app
    return refusals.Cors(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=ALLOWED_HEADERS,
        expose_headers=["X-Request-Id"],
        max_age=600,
    )


async def _not_opened(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("The dataset server's lifespan has not been run: docs/embedding.md shows how.")
