"""The route /graphql: a request in, an answer out, by the draft of GraphQL over HTTP."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import lru_cache
from typing import NamedTuple

import orjson
from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from graphql_server.deadlines import Deadlines
from graphql_server.errors import BadRequest, Unauthenticated, UserServerUnavailable, error_body
from graphql_server.http import parts, requests, streams
from graphql_server.http.heads import Headers, headers_of
from graphql_server.http.live import Live
from graphql_server.http.negotiation import JSON, RESPONSE, media_type, ranges_of
from graphql_server.http.tokens import token_of
from graphql_server.schema.answers import Answer, refused
from graphql_server.schema.execution import SUBSCRIPTION
from graphql_server.schema.parts import Parts

CONTENT_TYPES = {kind: (b"content-type", f"{kind}; charset=utf-8".encode()) for kind in (JSON, RESPONSE)}
# A cache in between must not give one user's answer to another, who may have sent the same to the letter.
NO_STORE = (b"cache-control", b"no-store")
Page = Callable[[], Awaitable[Response]]


class Wishes(NamedTuple):
    """How a client wants to be answered: the media type of a whole answer, the format of a stream, and parts or not."""

    kind: str | None
    stream: streams.Format | None
    parts: bool


class Reply:
    """A whole answer. Starlette's own costs more than most answers do."""

    def __init__(self, status: int, kind: str, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self._status = status
        self._headers = [CONTENT_TYPES[kind], NO_STORE, (b"content-length", b"%d" % len(body)), *headers]
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


class GraphQL:
    """The route as an ASGI application; browsers that open the address get `page`, if there is one."""

    def __init__(self, live: Live, max_bytes: int, page: Page | None) -> None:
        self._live, self._service = live, live.service
        self._page = page
        deadlines = Deadlines()
        self._plain, self._forms = requests.Plain(deadlines), requests.Forms(max_bytes, deadlines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, kind, method = headers_of(scope), JSON, scope["method"]
        try:
            if method not in ("GET", "POST"):
                raise BadRequest("Send GET or POST.", 405, "METHOD_NOT_ALLOWED")  # noqa: TRY301 - as all refusals
            if method == "GET" and self._page and wants_page(scope, headers):
                answer = await self._page()
            else:
                wishes = wishes_of(headers.get(b"accept", b""))
                kind = wishes.kind or JSON
                answer = await self._answer(scope, receive, headers, wishes)
        except BadRequest as error:
            answer = refusal(error, kind)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, headers: Headers, wishes: Wishes) -> ASGIApp:
        began, token = time.perf_counter(), token_of(headers)
        context, queries = self._service.context(token), scope["method"] == "GET"
        try:
            if not queries and requests.is_form(headers):
                async with self._forms.operation(headers, receive, context.user) as operation:
                    answer = await self._service.answer(operation, context, headers)
            else:
                if queries:
                    operation = await self._plain.of_string(scope["query_string"], context.user)
                else:
                    operation = await self._plain.of_body(headers, receive, context.user)
                answer = await self._service.answer(
                    operation,
                    context,
                    headers,
                    mutations=not queries,
                    subscriptions=wishes.stream is not None,
                    in_parts=wishes.parts,
                )
        except (Unauthenticated, UserServerUnavailable) as error:
            answer = refused(error)
        except BadRequest as error:
            self._service.operations.add("unknown", "refused", [error.code], began)
            raise
        return self._reply(answer, wishes, token, began)

    def _reply(
        self, answer: Answer | Parts | AsyncGenerator[Answer], wishes: Wishes, token: str | None, began: float
    ) -> ASGIApp:
        """Answer in JSON of a kind, or by a stream if it is a subscription or the client takes nothing else."""
        if isinstance(answer, Answer):
            self._service.operations.add(answer.operation, answer.outcome, answer.codes, began)
            return self._whole(answer, wishes, token)
        if isinstance(answer, Parts):
            return parts.Response(answer.bodies(), lambda: self._ended(answer, began))
        assert wishes.stream
        self._service.operations.add(SUBSCRIPTION, "ok", [], began)
        return streams.Response(wishes.stream, answer, self._live, token)

    def _ended(self, answer: Parts, began: float) -> None:
        self._service.operations.add("query", "errors" if answer.codes else "ok", answer.codes, began)

    def _whole(self, answer: Answer, wishes: Wishes, token: str | None) -> ASGIApp:
        kind = wishes.kind
        if kind is None:
            if wishes.stream is None:
                return parts.Response(parts.once(answer))
            return streams.Response(wishes.stream, answer, self._live, token)
        # The draft has 200 for every well-formed request in application/json, for the sake of old clients.
        status = 400 if answer.refused and kind == RESPONSE else 200
        return Reply(status, kind, orjson.dumps(answer.body))


@lru_cache(100)
def wishes_of(accept: bytes) -> Wishes:
    """What a client's Accept asks for; BadRequest (406) where it takes nothing that there is."""
    ranges = ranges_of(accept.decode("latin-1"))
    wishes = Wishes(media_type(ranges), streams.wanted(ranges), parts.wanted(ranges))
    if not any(wishes):
        raise BadRequest(f"Accept {RESPONSE} or {JSON}.", 406, "NOT_ACCEPTABLE")
    return wishes


def wants_page(scope: Scope, headers: Headers) -> bool:
    return b"text/html" in headers.get(b"accept", b"") and "query" not in QueryParams(scope["query_string"])


def refusal(error: BadRequest, kind: str) -> Reply:
    headers = [(b"allow", b"GET, POST")] if error.status == 405 else []
    if error.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    return Reply(error.status, kind, orjson.dumps(error_body(str(error), error.code)), *headers)
