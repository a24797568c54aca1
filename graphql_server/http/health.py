"""The routes /healthz (the process answers) and /readyz (so do the database and the media folder)."""

import asyncio
import os

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graphql_server.errors import DatabaseUnavailable
from graphql_server.images import Album

MEDIA_SECONDS = 2.0


def routes(album: Album) -> list[Route]:
    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> JSONResponse:
        failing = await _failing(album)
        return JSONResponse({"status": "unavailable" if failing else "ok", "failing": failing}, 503 if failing else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _failing(album: Album) -> list[str]:
    failing: list[str] = []
    try:
        await album.database.fetch("SELECT 1")
    except DatabaseUnavailable:
        failing.append("database")
    try:
        # A network folder that is gone may not answer at all.
        async with asyncio.timeout(MEDIA_SECONDS):
            writable = await asyncio.to_thread(os.access, album.media.root, os.W_OK)
    except TimeoutError:
        writable = False
    if not writable:
        failing.append("media")
    return failing
