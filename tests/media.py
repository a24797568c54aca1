"""A folder of pictures without the rest of the server: uploads into it, and its pictures over HTTP."""

import asyncio
import io
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from graphql_server.http.media import routes
from graphql_server.media import Media

KEYS = ("kJ8sQ2vN5xR7tY1uW3zA6bC9dE0fG4hL", "Zx0Yw9Vu8Ts7Rq6Po5Nm4Lk3Ji2Hg1Fe")
MIB = 1024 * 1024


class Upload:
    """An upload of these bytes that may stop with an error or wait at its end."""

    def __init__(self, content: bytes, end: Callable[[], Awaitable[bytes]] | None = None) -> None:
        self._content = io.BytesIO(content)
        self._end = end
        self.pieces: list[int] = []

    async def read(self, size: int, /) -> bytes:
        await asyncio.sleep(0)
        piece = self._content.read(size)
        if not piece and self._end:
            return await self._end()
        self.pieces.append(len(piece))
        return piece


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def store(media: Media, content: bytes, dataset_pk: int = 7, extension: str = "jpg") -> str:
    """Stage and place a picture; gives its file name."""
    file_name = f"{uuid4()}.{extension}"
    staged = await media.stage(Upload(content), len(content))
    await media.place(dataset_pk, {file_name: staged})
    await media.discard(staged)
    return file_name


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((64, 48), 50).convert("RGB").save(stream, kind)
    return stream.getvalue()


@asynccontextmanager
async def serving(media: Media, *, signed: bool = True) -> AsyncGenerator[int]:
    """Run a real server of the pictures below /media; gives its port."""
    app = Starlette(routes=[Mount("/media", routes=routes(media, signed=signed))])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def client(media: Media, *, signed: bool = True) -> AsyncGenerator[httpx.AsyncClient]:
    async with (
        serving(media, signed=signed) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=60) as web,
    ):
        yield web


def code(answer: httpx.Response) -> str:
    """Read the code of an error, whose answer nobody may keep."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    (error,) = answer.json()["errors"]
    assert error["message"]
    return error["extensions"]["code"]


WHOLE = bytes(range(100))
