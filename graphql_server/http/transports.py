"""How bytes leave: a head and its body together, and nothing for ever to somebody who takes none."""

import asyncio
from collections.abc import Callable

from uvicorn.config import Config

# How long somebody may take nothing of what is sent.
STALL_SECONDS = 30.0


class Unstalled(asyncio.Protocol):
    """Cuts a connection off whose client has stopped reading; uvicorn would keep it, and what is not sent, for ever."""

    config: Config
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._flowing()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._flowing()
        super().connection_lost(exc)

    def _end_in_time(self) -> None:
        # uvicorn cancels what runs by then, but waits for what is still to be sent.
        if seconds := self.config.timeout_graceful_shutdown:
            self.loop.call_later(seconds, self.transport.abort)

    def _watch(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(STALL_SECONDS, self._look, waiting)

    def _look(self, before: int) -> None:
        # Writing is paused until nearly all is gone, which on a slow line takes longer for a large answer.
        if self.transport.get_write_buffer_size() < before:
            self._watch()
        else:
            self.transport.abort()

    def _flowing(self) -> None:
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None


class Joined:
    """A connection's transport that sends two writes of one moment together, as an answer's head and body are.

    Each by itself would be a system call and a packet, which are a fifth of what a short answer costs.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = loop
        self._end = end
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            self._transport.writelines((self._held, data))
            self._held = b""
        else:
            self._held = data
            self._loop.call_soon(self._send)

    def close(self) -> None:
        self._send()
        self._end()

    def _send(self) -> None:
        if self._held:
            self._transport.write(self._held)
            self._held = b""
