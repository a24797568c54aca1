"""A relay in front of a server: it can be away, freeze, and cut a connection at what is said on it."""

import asyncio
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


class Relay:
    """Passes bytes on between clients and one server; its methods are for other threads than its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self._loop = loop
        self._target = host, port
        self._listener: asyncio.Server | None = None
        self._writers = set[asyncio.StreamWriter]()
        self._flowing = asyncio.Event()
        self._cut: tuple[bytes, bool] | None = None
        self.port = 0
        self.delay = 0.0  # seconds, for whatever clients say
        self.ignoring = False  # new connections, of which then nothing is passed on

    def up(self) -> None:
        """Listen, on the same port each time."""
        self._do(self._up())

    def down(self) -> None:
        """Cut every connection, and refuse new ones."""
        self._do(self._down())

    def hang_up(self) -> None:
        """Cut every connection, and each new one as soon as it is there."""
        self._do(self._hang_up())

    def freeze(self) -> None:
        """Pass nothing on any more; connections are accepted and stay open."""
        self._do(self._set(flowing=False))

    def thaw(self) -> None:
        self._do(self._set(flowing=True))

    def forget(self) -> None:
        """Pass nothing on any more on the connections that there are, which stay open; new ones are as ever."""
        self._do(self._forget())

    def cut_at(self, text: bytes, *, done: bool) -> None:
        """Cut the next connection whose client says `text`, once that has been answered, or before it arrives."""
        self._cut = text, done

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _up(self) -> None:
        await self._down()
        self._flowing.set()
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()

    async def _hang_up(self) -> None:
        await self._down()
        self._listener = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", self.port)

    async def _set(self, *, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _forget(self) -> None:
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.ignoring:
            self._writers.add(writer)
            return
        with suppress(OSError, asyncio.CancelledError):  # asyncio would tell stderr of a task that is cancelled
            there, back = await asyncio.open_connection(*self._target)
            self._writers |= {writer, back}
            cutting, flowing = asyncio.Event(), self._flowing
            ends = self._ask(reader, back, cutting, flowing), self._answer(there, writer, cutting, flowing)
            await asyncio.wait([asyncio.ensure_future(end) for end in ends], return_when="FIRST_COMPLETED")
            self._writers -= {writer, back}
            back.transport.abort()
        writer.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cutting: asyncio.Event, flowing: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay)
                await flowing.wait()
                if self._cut and self._cut[0] in data:
                    done, self._cut = self._cut[1], None
                    if not done:
                        return
                    cutting.set()
                writer.write(data)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cutting: asyncio.Event, flowing: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await flowing.wait()
                if cutting.is_set():
                    return
                writer.write(data)
                await writer.drain()


@contextmanager
def relaying(url: str) -> Generator[tuple[str, Relay]]:
    """The address of a server behind a relay, and the relay."""
    parts = urlsplit(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    relay = Relay(loop, parts.hostname or "", parts.port or 3306)
    relay.up()
    try:
        yield url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{relay.port}"), relay
    finally:
        relay.down()
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
