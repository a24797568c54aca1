"""A server to try: SQLite and pictures in a folder, and a user server of its own that knows one token.

Nothing is left out for the demo: the token made at the start takes the same way through the permission class
and the user server's client as any other.
"""

import asyncio
import fcntl
import hmac
import io
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graphql_server import datasets, logs, migrations
from graphql_server.album import Album
from graphql_server.app import create_app, opened
from graphql_server.demo.drawings import Drawing, drawings
from graphql_server.errors import SettingsError, Unauthenticated
from graphql_server.fixes import Fix
from graphql_server.serving import calm_collector, host_and_port, listen
from graphql_server.settings import Settings, setting
from graphql_server.users import plausible

NAMED = 3  # so many of the drawings go into a named dataset, the others into the untrained one
TITLE = "First steps"
HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a browser opens where a server listens everywhere
WELCOME = """
The demo is ready. Open this in a browser:

    {address}/graphql#token={token}

or ask in a terminal:

    curl {address}/graphql -H 'Authorization: Bearer {token}' \\
      -H 'Content-Type: application/json' -d '{{"query": "{{ untrained {{ title images {{ totalCount }} }} }}"}}'

The data is kept in {folder}; the token is new at every start. Ctrl-C stops the demo.
"""


def run(folder: Path, host: str, port: int, say: Callable[[str], None]) -> int:
    """Serve the demo until it is stopped, and say where; what was saved at earlier starts is still there."""
    settings = settings_of(folder, host, port)
    logs.configure(settings.log_format, settings.log_level)
    with _alone(folder):
        return _serve(settings, folder, say)


def _serve(settings: Settings, folder: Path, say: Callable[[str], None]) -> int:
    token = secrets.token_urlsafe(24)
    transport = httpx.ASGITransport(users(token))
    asyncio.run(_prepare(settings))
    calm_collector()
    address = f"http://{host_and_port(HERE.get(settings.host, settings.host), settings.port)}"
    welcome = WELCOME.format(address=address, token=token, folder=folder)
    return listen(
        create_app(settings, transport),
        settings.host,
        settings.port,
        ready=lambda: say(welcome),
        shutdown_seconds=settings.shutdown_seconds,
    )


def settings_of(folder: Path, host: str, port: int) -> Settings:
    """The demo's settings; its folders are made where they are missing."""
    media = folder / "media"
    try:
        media.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"Cannot make the folder {str(media)!r}: {error.strerror}") from None
    return Settings(
        database_url=f"sqlite://{folder / 'demo.db'}",
        user_server_url="http://demo-users/authenticate",
        media_root=media,
        media_signing_key=(secrets.token_urlsafe(48),),
        host=host,
        port=port,
        graphiql=True,
        introspection=True,
        log_format="text",
    )


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Keep a second demo out of the folder: SQLite serves one process."""
    with _lock_in(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"A demo runs in {str(folder)!r} already; choose another --folder") from None
        yield


def _lock_in(folder: Path) -> TextIO:
    try:
        return (folder / "demo.lock").open("w")
    except OSError as error:
        raise SettingsError(f"Cannot write in the folder {str(folder)!r}: {error.strerror}") from None


async def _prepare(settings: Settings) -> None:
    await migrations.run(settings.database_url, lambda _name: None)
    async with opened(settings) as (album, _users):
        database = album.database
        ((images,),) = await database.fetch("SELECT COUNT(*) FROM image_info")
        ((named,),) = await database.fetch("SELECT COUNT(*) FROM dataset_info WHERE untrained IS NULL")
        if not images and not named:
            await _fill(album)


async def _fill(album: Album) -> None:
    for number, drawing in enumerate(drawings(), start=1):
        await album.save_fix(_Bytes(drawing.content), fix_of(drawing))
        if number == NAMED:
            await datasets.seal(album.database, TITLE)


def fix_of(drawing: Drawing) -> Fix:
    return Fix(
        original_file_name=drawing.file_name,
        exif_degree=drawing.exif_degree,
        model_degree=drawing.model_degree,
        confidence=drawing.confidence,
        user_fix_degree=drawing.user_fix_degree,
    )


class _Bytes:
    """Bytes that are read like an upload."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    async def read(self, size: int, /) -> bytes:
        return self._file.read(size)


def run_users(environ: Mapping[str, str], port: int) -> int:
    """Serve the demo's user server alone, for a server in another container."""
    token = environ.get("DEMO_TOKEN")
    if not token:
        raise SettingsError("DEMO_TOKEN is not set: the one token that this user server knows")
    try:
        plausible(token)
    except Unauthenticated:
        raise SettingsError("DEMO_TOKEN can be no token; make one with: openssl rand -hex 24") from None
    logs.configure(setting("log_format", environ), setting("log_level", environ))
    host, seconds = setting("host", environ), setting("shutdown_seconds", environ)
    return listen(users(token), host, port, shutdown_seconds=seconds, chosen_by="--port or HOST")


def users(token: str) -> Starlette:
    """A user server that knows one user by one token."""

    async def authenticate(request: Request) -> Response:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), token.encode()):
            return Response(status_code=401)
        return JSONResponse({"pk": 1})

    return Starlette(routes=[Route("/authenticate", authenticate, methods=["POST"])])
