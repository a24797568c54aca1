"""How uvicorn is told to speak HTTP and WebSockets, and what a connection's bytes come through."""

import asyncio
from typing import Any

from graphql_server.http.handshakes import WebSocket
from graphql_server.http.protocol import Protocol

# What is read at once: nearly all requests without files fit into the first.
HEAD_PIECE, BODY_PIECE = 8 * 1024, 256 * 1024
MESSAGE_BYTES = 1024 * 1024
# How long the next request of a connection is waited for: longer than by proxies and balancers, which keep their own
# for a minute at most, so that none sends one just when its connection is being closed.
IDLE_SECONDS = 75
# How long after its last sign a WebSocket's client is asked for one, and how long that is waited for.
PING_SECONDS = PONG_SECONDS = 20.0


class Inlet(asyncio.BufferedProtocol):
    """What a connection's bytes come through: no more than is wanted, and the kernel keeps the rest.

    The event loop itself takes 256 KB at once, and with a request's head its photo, before that can be bidden to wait.
    """

    def __init__(self, **options: Any) -> None:
        self._protocol = protocol = Protocol(**options)
        self.connection_lost = protocol.connection_lost
        self.pause_writing, self.resume_writing = protocol.pause_writing, protocol.resume_writing
        # All connections of a server have one buffer, since nothing comes between its filling and its reading.
        if "inlet" not in protocol.app_state:
            protocol.app_state["inlet"] = memoryview(bytearray(BODY_PIECE))
        self._buffer: memoryview = protocol.app_state["inlet"]
        self._short = self._buffer[:HEAD_PIECE]

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn has it
        self._protocol.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the event loop's name for it
        cycle = self._protocol.cycle
        # Before it knows whose request it is, the application asks for no more than the first piece. And with what is
        # left of a body that has been answered, the next head may come.
        return self._buffer if cycle and cycle.more_body and cycle.asked and not cycle.over else self._short

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(self._buffer[:nbytes])


# What uvicorn.Config is told, wherever this is served.
OPTIONS: dict[str, Any] = {
    "http": Inlet,
    "ws": WebSocket,
    "ws_max_size": MESSAGE_BYTES,
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PONG_SECONDS,
    # Compression costs each connection some 100 kB.
    "ws_per_message_deflate": False,
    "timeout_keep_alive": IDLE_SECONDS,
    "access_log": False,
    "log_config": None,
    "lifespan": "on",
}
