"""The route /graphql for WebSockets: who may open one, and what becomes of it."""

import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from graphql_server import logs
from graphql_server.errors import TooManySubscriptions, error_body
from graphql_server.http.live import Live
from graphql_server.http.request_log import id_of, tenths
from graphql_server.http.transport_ws import SUBPROTOCOL, TRY_AGAIN, Closed, Connection

log = structlog.stdlib.get_logger(__name__)


def route(live: Live, origins: Sequence[str]) -> WebSocketRoute:
    """The route /graphql for WebSockets; pages of the server itself and of `origins` may use it."""

    async def graphql(socket: WebSocket) -> None:
        if not _welcome(socket, origins):
            live.subscriptions.refused["FORBIDDEN"] += 1
            message = "Pages of this origin may not connect (CORS_ORIGINS)."
            await socket.send_denial_response(JSONResponse(error_body(message, "FORBIDDEN"), 403))
            return
        began = time.perf_counter()
        bound = logs.REQUEST_ID.set(id_of(socket.scope))
        try:
            code = await _serve(socket, live)
            log.info("websocket", path=socket.url.path, code=code, lasted_ms=tenths(time.perf_counter() - began))
        finally:
            logs.REQUEST_ID.reset(bound)

    return WebSocketRoute("/graphql", graphql)


def _welcome(socket: WebSocket, origins: Sequence[str]) -> bool:
    """Browsers let any page connect to any server, and say whose page it is; other clients say nothing."""
    origin = socket.headers.get("origin")
    if origin is None or origin in origins or "*" in origins:
        return True
    try:
        return urlsplit(origin).netloc == socket.headers.get("host")
    except ValueError:
        return False  # http://[


async def _serve(socket: WebSocket, live: Live) -> int:
    """Serve one connection to its end; gives the code that it was closed with."""
    try:
        known = SUBPROTOCOL in socket.scope["subprotocols"]
        await socket.accept(SUBPROTOCOL if known else None)
        try:
            if not known:
                raise Closed(4406, f"Only {SUBPROTOCOL} is spoken here")
            with live.admitted("websocket") as line:
                return await Connection(socket, live, line).serve()
        except TooManySubscriptions as error:
            raise Closed(TRY_AGAIN, str(error)) from None
    except Closed as closed:
        with suppress(WebSocketDisconnect):
            await socket.close(closed.code, closed.reason)
        return closed.code
    except WebSocketDisconnect as gone:
        return gone.code
