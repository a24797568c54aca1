"""A user server that listens on a socket of its own and answers, or does not, as it is told."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import cast

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]
YES = b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"pk": 7}'


async def accept(writer: asyncio.StreamWriter) -> None:
    writer.write(YES)


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def drip(writer: asyncio.StreamWriter) -> None:
    """A yes, at a byte a second."""
    for byte in YES:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def nonsense(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01\x02\x00 what?\r\n\r\n")


async def redirect(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 302 Found\r\nlocation: /yes\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


class Users:
    """`say` is what is done with each question; `asked` counts them, `pending` those that have no answer yet."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/authenticate"
        self.say: Say = accept
        self.asked = 0
        self.pending = 0
        self.most_pending = 0
        self.stop = asyncio.Event()
        self._tasks = set[asyncio.Task[None]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            self.pending += 1
            self.most_pending = max(self.most_pending, self.pending)
            # A client that gives up ends the connection, and with it the wait; so does the end of the test.
            ends = [asyncio.ensure_future(end) for end in (self.say(writer), reader.read(), self.stop.wait())]
            await asyncio.wait(ends, return_when="FIRST_COMPLETED")
            self.pending -= 1
            for end in ends:
                end.cancel()
            await asyncio.wait(ends)
        writer.close()
        self._tasks.remove(task)

    async def run(self, listener: socket.socket) -> None:
        async with await asyncio.start_server(self.serve, sock=listener):
            await self.stop.wait()
        await asyncio.gather(*self._tasks)


@contextmanager
def users_told() -> Generator[Users]:
    """Listen until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener, asyncio.Runner() as runner:
        users = Users(listener)
        loop = runner.get_loop()
        thread = threading.Thread(target=runner.run, args=(users.run(listener),))
        thread.start()
        try:
            yield users
        finally:
            loop.call_soon_threadsafe(users.stop.set)
            thread.join()
