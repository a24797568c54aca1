"""Operations over a WebSocket, by the protocol graphql-transport-ws.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
import time
from contextlib import aclosing
from typing import Any, cast

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from graphql_server.errors import BadRequest, ServerStopping, Unauthenticated, UserServerUnavailable, error_body
from graphql_server.http import requests
from graphql_server.http.heads import headers_of
from graphql_server.http.live import Line, Live
from graphql_server.http.tokens import token_of
from graphql_server.schema.answers import Answer
from graphql_server.schema.execution import SUBSCRIPTION
from graphql_server.schema.operations import Operation
from graphql_server.schema.parts import Parts

SUBPROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 3.0
STEP = 0.1  # seconds, after which a server that stops looks again whether it still owes answers
LONGEST_ID = 255
# Clients connect again after these two, and ask whoever uses them for another token after the third.
GOING_AWAY, TRY_AGAIN, FORBIDDEN = 1001, 1013, 4403
ANONYMOUS = 'send a token in the payload of connection_init, {"Authorization": "Bearer …"}'


class Closed(Exception):
    """The connection is to be closed; the reason is for the client's developer, 123 bytes at most."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """One client's connection and the operations that run on it."""

    def __init__(self, socket: WebSocket, live: Live, line: Line) -> None:
        self._socket = socket
        self._live, self._service = live, live.service
        self._line = line
        self._headers = headers_of(socket.scope)
        self._token = token_of(self._headers)
        self._asked, self._known = asyncio.Event(), asyncio.Event()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._answering = set[asyncio.Task[None]]()  # of those, but for what is followed

    async def serve(self) -> int:
        """Raises Closed where the server ends it, and WebSocketDisconnect where the client has."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                while True:
                    await self._take(await self._message(), tasks)
        except* (Closed, WebSocketDisconnect) as several:
            found: BaseException = several
            while isinstance(found, BaseExceptionGroup):
                found = cast("BaseException", found.exceptions[0])
            raise found from None

    async def _watch(self) -> None:
        try:
            async with asyncio.timeout(INIT_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            raise Closed(4408, "Connection initialisation timeout") from None
        await self._known.wait()
        try:
            await self._line.watch(self._token)
        except ServerStopping as error:
            while self._answering:  # but for what is followed from now on
                await asyncio.wait(self._answering, timeout=STEP)
            raise Closed(GOING_AWAY, str(error)) from None
        except Unauthenticated:
            raise Closed(FORBIDDEN, "Forbidden: the token has died") from None
        except UserServerUnavailable as error:
            raise Closed(TRY_AGAIN, str(error)) from None

    async def _message(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received["code"])
        text: str | None = received.get("text")
        if text is None or (len(text) > requests.STRANGER_BYTES and not self._known.is_set()):
            raise Closed(4400, "Send JSON texts, and short ones before the connection is acknowledged")
        try:
            message: object = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            raise Closed(4400, "A message is a JSON object")
        return cast("dict[str, Any]", message)

    async def _take(self, message: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        match message:
            case {"type": "connection_init"}:
                await self._initialise(message.get("payload"))
            case {"type": "ping"}:
                await self._send("pong")
            case {"type": "pong"}:
                pass
            case {"type": "subscribe"} if self._live.stopping.is_set():
                pass  # The connection is closed as soon as what it has asked for is told.
            case {"type": "subscribe", "id": str(name), "payload": payload} if 0 < len(name) <= LONGEST_ID:
                self._begin(name, payload, tasks)
            case {"type": "complete", "id": str(name)}:
                if operation := self._operations.pop(name, None):
                    operation.cancel()
            case _:
                raise Closed(4400, "This is no message of graphql-transport-ws")

    async def _initialise(self, payload: object) -> None:
        if self._asked.is_set():
            raise Closed(4429, "Too many initialisation requests")
        self._asked.set()
        self._token = _token_in(payload) or self._token
        try:
            await self._service.users.authenticate(self._token)
        except (Unauthenticated, UserServerUnavailable) as error:
            self._live.subscriptions.refused[error.code] += 1
            if isinstance(error, UserServerUnavailable):
                raise Closed(TRY_AGAIN, str(error)) from None
            raise Closed(FORBIDDEN, f"Forbidden: {error if self._token else ANONYMOUS}") from None
        self._known.set()
        await self._send("connection_ack")

    def _begin(self, name: str, payload: object, tasks: asyncio.TaskGroup) -> None:
        if not self._known.is_set():
            raise Closed(4401, "Unauthorized")
        if name in self._operations:
            raise Closed(4409, "Subscriber for this id already exists")
        most, under_way = self._live.bounds.subscriptions, self._operations.values()
        # Mutations that the client has given up go on; a query of which that is so may take a moment to end.
        if max(len(under_way), len(self._answering.difference(under_way))) >= most:
            raise Closed(4429, f"More than {most} operations at once (LIVE_SUBSCRIPTIONS)")
        try:
            operation = requests.operation_of(payload)
        except BadRequest as error:
            raise Closed(4400, str(error)) from None
        self._operations[name] = task = tasks.create_task(self._operate(name, operation))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _operate(self, name: str, operation: Operation) -> None:
        began = time.perf_counter()
        try:
            if await self._answered(name, operation, began):
                await self._send("complete", name)
        except BadRequest as error:
            self._service.operations.add("unknown", "refused", [error.code], began)
            await self._send("error", name, error_body(str(error), error.code)["errors"])
        finally:
            # The client may have ended this operation and begun another with its id.
            if self._operations.get(name) is asyncio.current_task():
                del self._operations[name]

    async def _answered(self, name: str, operation: Operation, began: float) -> bool:
        """Send every answer; false where the operation was refused, which is its last message."""
        context = self._service.context(self._token)
        answers = await self._service.answer(operation, context, self._headers, subscriptions=True)
        if isinstance(answers, Answer):
            self._service.operations.add(answers.operation, answers.outcome, answers.codes, began)
            return await self._sent(name, answers)
        assert not isinstance(answers, Parts)
        self._answering.discard(self._operations[name])
        self._service.operations.add(SUBSCRIPTION, "ok", [], began)
        async with aclosing(self._line.follow(answers)) as events:
            async for answer in events:
                if not await self._sent(name, answer):
                    return False
        return True

    async def _sent(self, name: str, answer: Answer) -> bool:
        if answer.refused:
            await self._send("error", name, answer.body["errors"])
        else:
            await self._send("next", name, answer.body)
        return not answer.refused

    async def _send(self, kind: str, name: str | None = None, payload: object = None) -> None:
        message = {"type": kind, "id": name, "payload": payload}
        text = orjson.dumps({key: value for key, value in message.items() if value is not None}).decode()
        await self._socket.send({"type": "websocket.send", "text": text})


def _token_in(payload: object) -> str | None:
    """The token in what connection_init brings: as a header, or as a header among `headers`."""
    if not isinstance(payload, dict):
        return None
    fields = cast("dict[str, object]", payload)
    nested = fields.get("headers")
    headers = fields | (cast("dict[str, object]", nested) if isinstance(nested, dict) else {})
    return token_of({key.lower().encode(): value.encode() for key, value in headers.items() if isinstance(value, str)})
