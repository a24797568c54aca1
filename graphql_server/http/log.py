"""A line in the log for every request, and an id that the client, the line and all others of the request share."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graphql_server.errors import DatasetServerError, error_body
from graphql_server.figures import Traffic

PLAUSIBLE = re.compile(r"[A-Za-z0-9._-]{1,64}")

BUG = "Something went wrong on the server; its log has the details under the X-Request-Id."

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
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if PLAUSIBLE.fullmatch(sent) else uuid4().hex
        status, began = 0, time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, answer)
            except Exception:
                log.exception("request failed")
                if status:
                    raise  # uvicorn then closes the connection in the middle of the answer
                await JSONResponse(error_body(BUG, DatasetServerError.code), 500)(scope, receive, answer)
            finally:
                self.traffic.add(scope["path"].removeprefix(scope.get("root_path", "")), status, began)
                # The path alone: the query string may hold a signature.
                milliseconds = round((time.perf_counter() - began) * 1000, 1)
                log.info("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)
