"""How bytes come and leave: no more than is wanted, and nothing for ever to somebody who takes none."""

import asyncio
import socket
from collections.abc import Collection

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl

# How long somebody may take nothing of what is sent.
STALL_SECONDS = 30.0
UNSENT_BYTES = 128 * 1024


def bound(transport: asyncio.Transport) -> None:
    """Have the kernel keep little for a client, and cut it off when it takes nothing, or has gone without a word.

    It would keep megabytes, for a quarter of an hour if nobody answers, and for ever if the client does not read.
    """
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STALL_SECONDS * 1000))


def end_in_time(transport: asyncio.Transport, config: Config, loop: asyncio.AbstractEventLoop) -> None:
    """Break off when the time for a shutdown is over; uvicorn then cancels what runs, but waits for what is unsent."""
    if seconds := config.timeout_graceful_shutdown:
        loop.call_later(seconds, transport.abort)


class Flow(FlowControl):
    """Reads no more while requests wait for their turn; uvicorn would read on with each answer, and keep them all."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if self.read_paused and not self._waiting:
            super().resume_reading()
