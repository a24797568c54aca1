"""Clients that follow: over a WebSocket by graphql-transport-ws, and over HTTP by streams."""

import base64
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.servers import Server

IMAGES = """subscription($datasetPk: Int, $after: String) {
  imageSaved(datasetPk: $datasetPk, after: $after) { cursor image { pk originalFileName url dataset { pk title } } }
}"""
CHANGES = """subscription($pk: Int, $after: String) {
  datasetChanged(pk: $pk, after: $after) { cursor change imagePk dataset { pk title } }
}"""
SSE = "text/event-stream"
MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
UPGRADE = b"""GET /graphql HTTP/1.1\r
host: here\r
upgrade: websocket\r
connection: upgrade\r
sec-websocket-version: 13\r
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r
sec-websocket-protocol: graphql-transport-ws\r
"""


def cursor(pk: int) -> str:
    """The cursor of a change by the server's present scheme; of 0, the one before the first."""
    return base64.b64encode(orjson.dumps(["CHANGE", pk])).decode()


START = cursor(0)


class Client:
    """One connection; every wait ends after 30 seconds."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, **message: Any) -> None:
        self.socket.send(orjson.dumps(message).decode())

    def receive(self) -> dict[str, Any]:
        return orjson.loads(self.socket.recv(timeout=30))

    def begin(self, token: str | None = None) -> None:
        """Initialise the connection; with a token, by the payload."""
        payload = {"Authorization": f"Bearer {token}"} if token else None
        self.send(type="connection_init", **({"payload": payload} if payload else {}))
        assert self.receive() == {"type": "connection_ack"}

    def subscribe(self, query: str, name: str = "1", **variables: Any) -> None:
        self.send(type="subscribe", id=name, payload={"query": query, "variables": variables})

    def event(self, name: str = "1") -> dict[str, Any]:
        """The one root field of the next event; it must have no errors."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("next", name), message
        assert "errors" not in message["payload"], message
        (value,) = message["payload"]["data"].values()
        return value

    def error(self, name: str = "1") -> str:
        """The code of the error that ends an operation."""
        message = self.receive()
        assert (message["type"], message["id"]) == ("error", name), message
        return message["payload"][0]["extensions"]["code"]

    def closed(self) -> tuple[int, str]:
        """The code and reason that the server closes the connection with, whatever comes before."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            frame = closed.rcvd
        assert frame, "the connection broke"
        return frame.code, frame.reason


@contextmanager
def connected(server: Server, *protocols: str, headers: dict[str, str] | None = None) -> Generator[Client]:
    """Connect; the headers bear the server's token unless they are given."""
    given = server.headers if headers is None else headers
    names = [Subprotocol(name) for name in protocols or ("graphql-transport-ws",)]
    url = server.url.replace("http", "ws", 1) + "/graphql"
    with connect(url, subprotocols=names, additional_headers=given, proxy=None, open_timeout=30) as socket:
        yield Client(socket)


@contextmanager
def following(server: Server, query: str = IMAGES, **variables: Any) -> Generator[Client]:
    """Connect, initialise and subscribe; without `after` from the first change on."""
    with connected(server) as client:
        client.begin()
        client.subscribe(query, **{"after": START, **variables})
        yield client


@contextmanager
def streaming(server: Server, accept: str, query: str = IMAGES, **variables: Any) -> Generator[httpx.Response]:
    body = {"query": query, "variables": {"after": START, **variables}}
    headers = {**server.headers, "accept": accept}
    with (
        httpx.Client(verify=False, timeout=30) as client,
        client.stream("POST", f"{server.url}/graphql", json=body, headers=headers) as response,
    ):
        yield response


def events(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """The events of a stream of server-sent events: their names and their data, comments left out."""
    text = ""
    for piece in response.iter_text():
        text += piece
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            fields = dict(line.split(":", 1) for line in event.split("\n"))
            if "" not in fields:
                yield fields["event"].strip(), orjson.loads(fields["data"]) if fields["data"] else None


def parts(response: httpx.Response) -> Iterator[Any]:
    """The bodies of a multipart response as soon as the boundary behind each has come."""
    text = "\r\n"
    begun = False  # what comes before the first boundary is no part
    for piece in response.iter_text():
        text += piece
        while "\r\n--graphql" in text:
            part, _, text = text.partition("\r\n--graphql")
            if begun:
                yield orjson.loads(part.partition("\r\n\r\n")[2])
            begun = True


def masked(text: bytes) -> bytes:
    """A text as the frame of a client whose mask changes nothing."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def welcome(server: Server) -> bool:
    """Whether there is room; a client may see the end of its connection before the server counts it as gone."""
    try:
        with connected(server) as client:
            client.begin()
    except ConnectionClosedError:
        return False
    return True
