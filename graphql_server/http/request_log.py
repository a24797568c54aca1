"""A line in the log for every request, and an id that the client, the line and all others of the request share."""

import random
import re
import time
from collections.abc import Awaitable
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphql_server import logs
from graphql_server.figures import Traffic
from graphql_server.http import refusals
from graphql_server.http.heads import headers_of
from graphql_server.http.streams import LASTING

PLAUSIBLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST_PATH = 200  # characters in the log; that of a picture has 70, and strangers may send 32,000

log = structlog.stdlib.get_logger(__name__)


class RequestLog:
    """Takes the request's id from X-Request-Id or makes one, and gives it back in the same header."""

    def __init__(self, app: ASGIApp, traffic: Traffic | None = None) -> None:
        self.app = app
        self.traffic = traffic or Traffic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = id_of(scope)
        header = b"x-request-id", request_id.encode()
        status, began, lasting = 0, time.perf_counter(), 0.0

        def answer(message: Message) -> Awaitable[None]:
            nonlocal status, lasting
            if message["type"] == "http.response.start":
                status = message["status"]
                if LASTING in scope:
                    lasting = time.perf_counter()
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        bound = logs.REQUEST_ID.set(request_id)
        try:
            await self.app(scope, receive, answer)
        except Exception:
            log.exception("request failed")
            if status:
                raise  # the connection is then closed in the middle of the answer
            await refusals.bug()(scope, receive, answer)
        finally:
            ended = time.perf_counter()
            path, seconds = scope["path"], (lasting or ended) - began
            self.traffic.add(path.removeprefix(scope.get("root_path", "")), status, seconds)
            told: dict[str, Any] = {
                "method": scope["method"],
                # The path alone: the query string may hold a signature.
                "path": logs.scrubbed(path[:LONGEST_PATH]),
                "status": status,
                "ms": tenths(seconds),
            }
            if lasting:
                told["lasted_ms"] = tenths(ended - began)
            logs.tell(__name__, "request", told)
            logs.REQUEST_ID.reset(bound)


def id_of(scope: Scope) -> str:
    """The id that a request brings, or one that is made for it."""
    sent = headers_of(scope).get(b"x-request-id", b"").decode("latin-1")
    if PLAUSIBLE.fullmatch(sent):
        return sent
    return f"{random.getrandbits(128):032x}"


def tenths(seconds: float) -> float:
    """So many milliseconds, to a tenth; `round` takes ten times as long."""
    return int(seconds * 10_000 + 0.5) / 10
