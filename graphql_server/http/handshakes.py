"""How a connection becomes a WebSocket; where it cannot, that is refused in JSON like all else."""

import logging
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Response
from websockets.server import ServerProtocol

from graphql_server.errors import DatasetServerError, error_body
from graphql_server.figures import Traffic
from graphql_server.http.transports import end_in_time

CODES = {
    HTTPStatus.FORBIDDEN: "FORBIDDEN",
    HTTPStatus.REQUEST_URI_TOO_LONG: "HEADERS_TOO_LARGE",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "HEADERS_TOO_LARGE",
    HTTPStatus.INTERNAL_SERVER_ERROR: DatasetServerError.code,
}

# A frame takes 20 microseconds, and may have six bytes: so many bytes are read at one go, and so many frames taken that
# are no messages, or are messages that still wait.
PIECE = 4096
FRAMES = 1000

# uvicorn and websockets write lines for each connection, with the query string; the application writes one without.
log = logging.getLogger("uvicorn.websocket")


class Handshake(ServerProtocol):
    """websockets' own refuses in text/plain."""

    def __init__(self, max_size: int, count: Callable[[int], None]) -> None:
        """A message has `max_size` bytes at most; `count` is called with the status of each refusal."""
        super().__init__(max_size=max_size, logger=log)
        self._count = count

    def reject(self, status: int, text: str) -> Response:
        self._count(status)
        status = HTTPStatus(status)
        message = text.partition("\n")[0] or status.phrase
        body = orjson.dumps(error_body(message, CODES.get(status, "BAD_REQUEST")))
        response = super().reject(status, body.decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response


class WebSocket(WebSocketsSansIOProtocol):
    """A connection that asks to become a WebSocket; the application closes it when the server is told to stop."""

    _idle = 0  # frames since the last that ended a message, or since the last ping of ours

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = log
        traffic = self.app_state.get("traffic", Traffic())
        self.conn = Handshake(self.config.ws_max_size, traffic.refuse)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            super().data_received(data[at : at + PIECE])
            if self._idle + self.queue.qsize() > FRAMES:
                self.conn.fail(1008, "Too many frames at once")
                self.handle_parser_exception()
            if self.transport.is_closing():
                return
        if not self.handshake_initiated:
            # The head has come whole, but its lines are too long for websockets, and uvicorn would wait for another.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_events(self) -> None:
        self._idle += len(self.conn.events)
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        self._idle = 0
        with suppress(InvalidState):  # where a text is no UTF-8, and its sender has closed after it
            super().send_receive_event_to_app()

    def send_keepalive_ping(self) -> None:
        self._idle = 0
        super().send_keepalive_ping()

    def handle_parser_exception(self) -> None:
        self.disconnected = True  # for the application, which may be about to send
        if self.conn.close_sent:
            super().handle_parser_exception()
        else:
            # What is no frame came before the handshake was complete, where nothing can be closed in words.
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Break off: who is gone takes no reason, and uvicorn's, 1011, would keep clients from coming again."""
        self.transport.abort()

    def shutdown(self) -> None:
        end_in_time(self.transport, self.config, self.loop)
        if self.handshake_complete and not self.close_sent and "stopping" in self.app_state:
            self.app_state["stopping"].set()
        else:
            super().shutdown()
