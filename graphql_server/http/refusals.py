"""What uvicorn and Starlette would answer in text, in JSON like all other refusals."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from graphql_server.errors import DatasetServerError, error_body
from graphql_server.http.exchange import Fields

BUG = "Something went wrong on the server; its log has the details under the X-Request-Id."
CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


def closing(fields: Fields, status: int, code: str, message: str) -> bytes:
    """A whole answer of HTTP with these header fields besides its own, after which the connection ends."""
    body = orjson.dumps(error_body(message, code))
    own = (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close")
    lines = (b"%b: %b\r\n" % field for field in (*fields, *own))
    return b"".join((STATUS_LINE[status], *lines, b"\r\n", body))


class Cors(CORSMiddleware):
    """Answers browsers that ask whether a page of another origin may call."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        message = bytes(answer.body).decode()
        return JSONResponse(error_body(message, "FORBIDDEN"), answer.status_code, headers)


def websockets() -> WebSocketRoute:
    """The route after that of /graphql: there is no WebSocket at any other path."""
    return WebSocketRoute("/{path:path}", _nowhere)


async def _nowhere(_socket: WebSocket) -> None:
    raise HTTPException(404)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "BAD_REQUEST")
    return JSONResponse(error_body(error.detail, code), error.status_code, error.headers)


def bug() -> Response:
    """What is told of a fault of the server."""
    return JSONResponse(error_body(BUG, DatasetServerError.code), 500)


async def _bug(_request: Request, _error: Exception) -> Response:
    return bug()


# What a Starlette application is given as `exception_handlers`.
HANDLERS: Mapping[Any, Any] = MappingProxyType({HTTPException: _http_error, Exception: _bug})
