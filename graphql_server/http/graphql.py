"""The route /graphql: a request in, an answer out, by the draft of GraphQL over HTTP."""

import time
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_server.errors import BadRequest, Unauthenticated, UserServerUnavailable, error_body
from graphql_server.figures import Operations
from graphql_server.http import requests
from graphql_server.images import Album
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Answer, Executor, refused
from graphql_server.users import Users

RESPONSE = "application/graphql-response+json"
JSON = "application/json"
Page = Callable[[], Awaitable[Response]]


class GraphQL:
    """Answers operations; browsers that open the address get `page`, if there is one."""

    def __init__(self, executor: Executor, album: Album, users: Users, max_bytes: int, page: Page | None) -> None:
        self._executor = executor
        self._album = album
        self._users = users
        self._max_bytes = max_bytes
        self._page = page
        self.operations = Operations()

    async def respond(self, request: Request) -> Response:
        if self._page and request.method == "GET" and "query" not in request.query_params and wants_page(request):
            return await self._page()
        try:
            kind = media_type(request.headers.get("accept"))
        except BadRequest as error:
            return refusal(error, JSON)
        try:
            return await self._answer(request, kind)
        except BadRequest as error:
            return refusal(error, kind)
        finally:
            await request.close()

    async def _answer(self, request: Request, kind: str) -> Response:
        began = time.perf_counter()
        try:
            answer = await self._run(request)
        except BadRequest as error:
            self.operations.add("unknown", "refused", [error.code], began)
            raise
        self.operations.add(answer.operation, answer.outcome, answer.codes, began)
        # The draft has 200 for every well-formed request in application/json, for the sake of old clients.
        status = 400 if answer.refused and kind == RESPONSE else 200
        return Response(orjson.dumps(answer.body), status, media_type=f"{kind}; charset=utf-8")

    async def _run(self, request: Request) -> Answer:
        context = Context(self._album, self._users, token_of(request))
        if request.method == "GET":
            return await self._executor.run(requests.from_query_string(request), context, mutations=False)
        try:
            operation = await requests.from_body(request, self._max_bytes, context.user)
        except (Unauthenticated, UserServerUnavailable) as error:
            return refused(error)
        return await self._executor.run(operation, context)


def route(endpoint: GraphQL) -> Route:
    async def graphql(request: Request) -> Response:
        if request.method not in ("GET", "POST"):
            return refusal(BadRequest("Send GET or POST.", 405, "METHOD_NOT_ALLOWED"), JSON)
        return await endpoint.respond(request)

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    return Route("/graphql", graphql, methods=methods)


def token_of(request: Request) -> str | None:
    """The client's token: a bearer's, or the one in the predecessor's header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("access_token")


def media_type(accept: str | None) -> str:
    """The media type to answer in; BadRequest (406) where the client takes neither of the two."""
    if not accept:
        return JSON
    wanted: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        wanted[name] = max(wanted.get(name, 0.0), _quality(parameters))
    weights = {kind: _weight(wanted, kind) for kind in (JSON, RESPONSE)}
    kind = RESPONSE if weights[RESPONSE] > weights[JSON] or wanted.get(RESPONSE) == weights[JSON] else JSON
    if not weights[kind]:
        raise BadRequest(f"Accept {RESPONSE} or {JSON}.", 406, "NOT_ACCEPTABLE")
    return kind


def _weight(wanted: dict[str, float], kind: str) -> float:
    return next((wanted[name] for name in (kind, "application/*", "*/*") if name in wanted), 0.0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def refusal(error: BadRequest, kind: str) -> Response:
    headers = {"allow": "GET, POST"} if error.status == 405 else {}
    if error.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not waited for
    body = orjson.dumps(error_body(str(error), error.code))
    return Response(body, error.status, headers, media_type=f"{kind}; charset=utf-8")
