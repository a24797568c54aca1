"""Listens: takes the port, starts the workers, and answers until it is told to stop."""

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from graphql_server import logs
from graphql_server.app import create_app, media_app, opened
from graphql_server.errors import SettingsError
from graphql_server.settings import Settings, setting


def serve(environ: Mapping[str, str]) -> int:
    """Serve in production until SIGTERM; SettingsError where something that is needed is missing or wrong."""
    settings = Settings.from_environment(environ)
    logs.configure(settings.log_format, settings.log_level)
    asyncio.run(_try(settings))
    return listen(
        "graphql_server.serving:production",
        settings.host,
        settings.port,
        factory=True,
        workers=settings.workers,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


def production() -> Starlette:
    """The application of one worker, by the environment."""
    settings = Settings.from_environment(os.environ)
    logs.configure(settings.log_format, settings.log_level)
    return create_app(settings)


def serve_media(environ: Mapping[str, str], port: int, *, plain: bool) -> int:
    """Serve the media folder alone; `plain` asks for no signatures and so needs no key."""
    keys = () if plain else setting("media_signing_key", environ)
    logs.configure(setting("log_format", environ), setting("log_level", environ))
    return listen(media_app(setting("media_root", environ), keys), setting("host", environ), port)


async def _try(settings: Settings) -> None:
    """Open and close everything once: what is wrong is told before anything listens."""
    async with opened(settings):
        pass


def listen(app: Starlette | str, host: str, port: int, **options: Any) -> int:
    """Run the application on a port; gives the exit status. SettingsError where the port is taken."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        **options,
    )
    with _port(host, port) as listener:
        server = uvicorn.Server(config)
        if config.workers > 1:
            Multiprocess(config, sockets=[listener]).run()
            return 0
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _port(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        # Without SO_REUSEPORT: a second server on the same port fails instead of taking half of the requests.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"Cannot listen on {host}:{port}: {reason}; choose another PORT or HOST") from None
    listener.set_inheritable(True)
    return listener
