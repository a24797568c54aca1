"""The routes /healthz (the process answers) and /readyz (so do the database and the media folder)."""

import asyncio
from collections.abc import Awaitable

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from graphql_server.album import Album
from graphql_server.errors import DatabaseUnavailable, DatabaseUnfit, StorageUnavailable
from graphql_server.media import log_unavailable

# A frozen database or network folder may never answer, and whoever probes waits for a few seconds at most.
SECONDS = 2.0
# A database that answers, but not to this, has not been migrated, or was restored by half.
TABLES = "SELECT (SELECT MAX(pk) FROM dataset_info), (SELECT MAX(pk) FROM image_info)"


def routes(album: Album) -> list[Route]:
    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> JSONResponse:
        failing = await _failing(album)
        return JSONResponse({"status": "unavailable" if failing else "ok", "failing": failing}, 503 if failing else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _failing(album: Album) -> list[str]:
    checks = {"database": _database(album), "media": _media(album)}
    answers = await asyncio.gather(*(_in_time(check) for check in checks.values()))
    return [name for name, fine in zip(checks, answers, strict=True) if not fine]


async def _database(album: Album) -> bool:
    try:
        await album.database.fetch(TABLES)
    except (DatabaseUnavailable, DatabaseUnfit):
        return False
    return True


async def _media(album: Album) -> bool:
    try:
        await album.media.check_writable()
    except StorageUnavailable as error:
        log_unavailable(error)
        return False
    return True


async def _in_time(check: Awaitable[bool]) -> bool:
    try:
        return await asyncio.wait_for(check, SECONDS)
    except TimeoutError:
        return False
