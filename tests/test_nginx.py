"""The real nginx, on deploy's files, guards pictures as the server does and shields the server."""

import base64
import dataclasses
import hashlib
import hmac
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Generator
from http import HTTPStatus
from pathlib import Path

import pytest
import uvicorn

from graphql_server.http.inlet import OPTIONS, PING_SECONDS
from graphql_server.http.streams import HEARTBEAT_SECONDS
from graphql_server.media import Media
from tests.live import MULTIPART, SSE, events, following, parts, streaming
from tests.nginx import Front, fronting
from tests.photos import photo
from tests.processes import PROJECT
from tests.servers import KEY, Server
from tests.waiting import wait_until

NEW_KEY = "Zk3vQ8xLwN5tRb1YpHs7Ce9UgJm2AfDo"
OLD_KEY = "p0OiU7yTr6EwQ5aSd4FgH3jKl2ZxC1vB"
PICTURE = "7/0d7bb3f6-2a0e-4d6f-9a62-0a3c4f2f5a11.jpg"
BYTES = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


@pytest.fixture(scope="module")
def upstream() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, upstream: socket.socket) -> Generator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    media = folder / "media"
    (media / ".staging").mkdir(parents=True)
    (media / PICTURE).parent.mkdir()
    (media / PICTURE).write_bytes(BYTES)
    with fronting(folder, media, upstream.getsockname()[1], f"{NEW_KEY}, {OLD_KEY}") as running_front:
        yield running_front


def signed(path: str = PICTURE, key: str = NEW_KEY, expires: int | None = None) -> str:
    """Sign a picture's address by the published scheme, without the server's own code."""
    until = int(time.time()) + 600 if expires is None else expires
    mac = hmac.digest(key.encode(), f"{path}\n{until}".encode(), hashlib.sha256)
    return f"/media/{path}?expires={until}&signature={base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def code(body: bytes) -> str:
    return json.loads(body)["errors"][0]["extensions"]["code"]


def test_nginx_sends_a_picture_at_its_signed_address(front: Front) -> None:
    response, body = front.ask(signed())
    assert (response.status, body) == (HTTPStatus.OK, BYTES)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    kind, age, kept = response.headers["Cache-Control"].split(", ")
    assert (kind, kept) == ("private", "immutable")
    assert 500 < int(age.removeprefix("max-age=")) <= 600


@pytest.mark.parametrize("key", [NEW_KEY, OLD_KEY])
def test_nginx_and_the_server_agree_on_addresses_for_every_key_in_rotation(front: Front, key: str) -> None:
    pk, name = PICTURE.split("/")
    response, body = front.ask(Media(front.media, "/media", (key,), 600).address(int(pk), name))
    assert (response.status, body) == (HTTPStatus.OK, BYTES)
    both = Media(front.media, "/media", (NEW_KEY, OLD_KEY), 600)
    expires, signature = re.findall(r"=([^&]+)", signed(key=key))
    assert both.check(pk, name, expires, signature) == "good"


CHANGES: dict[str, Callable[[str], str]] = {
    "nothing": lambda address: address.partition("?")[0],
    "no signature": lambda address: address.partition("&")[0],
    "no expiry": lambda address: re.sub(r"expires=\d+&", "", address),
    "a later expiry": lambda address: address.replace("expires=", "expires=1"),
    "a longer expiry": lambda address: address.replace("expires=", "expires=0"),
    "another dataset": lambda address: address.replace("/7/", "/8/"),
    "another file": lambda address: address.replace("0d7bb3f6", "0d7bb3f7"),
    "a signature with more before": lambda address: address.replace("signature=", "signature=A"),
    "a signature with more behind": lambda address: address + "A",
    "a padded signature": lambda address: address + "=",
    "a shortened signature": lambda address: address[:-1],
    "an empty signature": lambda address: re.sub(r"signature=.*", "signature=", address),
    "everything twice": lambda address: address + "&" + address.partition("?")[2],
    "another key": lambda _: signed(key="another-key-that-nobody-was-given"),
    "no key": lambda _: signed(key=""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nginx_refuses_an_address_that_was_not_signed_so(front: Front, change: str) -> None:
    response, body = front.ask(CHANGES[change](signed()))
    assert (response.status, code(body)) == (HTTPStatus.FORBIDDEN, "FORBIDDEN")
    assert response.headers["Cache-Control"] == "no-store"


def test_nginx_refuses_an_address_that_has_expired(front: Front) -> None:
    response, body = front.ask(signed(expires=int(time.time()) - 1))
    assert (response.status, code(body)) == (HTTPStatus.GONE, "URL_EXPIRED")


def test_nginx_says_that_a_removed_picture_is_gone(front: Front) -> None:
    response, body = front.ask(signed("7/00000000-2a0e-4d6f-9a62-0a3c4f2f5a11.jpg"))
    assert (response.status, code(body)) == (HTTPStatus.NOT_FOUND, "NOT_FOUND")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "7/", "7", "", ".staging/", ".staging/0d7bb3f6.jpg", ".verified/" + PICTURE, ".gone",
        "7/0d7bb3f6-2a0e-4d6f-9a62-0a3c4f2f5a11.html", "7/..%2f..%2fnginx.conf", "%2e%2e/nginx.conf",
        "7/../../nginx.conf", "7//" + PICTURE[2:], "/" + PICTURE, PICTURE + "%0a",
        PICTURE + "%00", PICTURE + "/",
        "%D9%A7/" + PICTURE[2:], "-7/" + PICTURE[2:], "+7/" + PICTURE[2:], "7%2f" + PICTURE[2:] + "/..%2f..",
    ],
)  # fmt: skip
def test_nginx_has_nothing_where_no_picture_can_be(front: Front, path: str) -> None:
    (front.media / ".staging" / "0d7bb3f6.jpg").write_bytes(BYTES)
    response, body = front.ask(signed(path))
    assert response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST)
    assert BYTES not in body


def test_nginx_follows_no_link_out_of_the_folder(front: Front) -> None:
    name = "1d7bb3f6-2a0e-4d6f-9a62-0a3c4f2f5a11.jpg"
    for link, target in {f"7/{name}": "/etc/hostname", "8": front.media / "7"}.items():
        (front.media / link).symlink_to(target)
    for path in (f"7/{name}", "8/" + PICTURE[2:]):
        response, body = front.ask(signed(path))
        assert (response.status, code(body)) == (HTTPStatus.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nginx_sends_pictures_only_to_get_and_head(front: Front, method: str) -> None:
    response, _ = front.ask(signed(), method)
    assert response.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert response.headers["Allow"] == "GET, HEAD"
    assert (front.media / PICTURE).read_bytes() == BYTES


def test_nginx_answers_head_ranges_and_known_pictures(front: Front) -> None:
    response, body = front.ask(signed(), "HEAD")
    assert (response.status, body) == (HTTPStatus.OK, b"")
    assert response.headers["Content-Length"] == str(len(BYTES))

    part, body = front.ask(signed(), Range="bytes=100-299")
    assert (part.status, body) == (HTTPStatus.PARTIAL_CONTENT, BYTES[100:300])
    assert part.headers["Content-Range"] == f"bytes 100-299/{len(BYTES)}"

    known, body = front.ask(signed(), If_None_Match=response.headers["ETag"])
    assert (known.status, body) == (HTTPStatus.NOT_MODIFIED, b"")


def test_nginx_refuses_conditions_and_ranges_in_json_as_the_server_does(front: Front) -> None:
    unmet, body = front.ask(signed(), If_Match='"another"')
    assert (unmet.status, code(body)) == (HTTPStatus.PRECONDITION_FAILED, "PRECONDITION_FAILED")
    empty, body = front.ask(signed(), Range=f"bytes={len(BYTES)}-")
    assert (empty.status, code(body)) == (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE")
    assert empty.headers["Content-Range"] == f"bytes */{len(BYTES)}"
    for answer in (unmet, empty):
        assert answer.headers["Content-Type"] == "application/json"
        assert "no-store" in answer.headers.get_all("Cache-Control", [])


def test_nginx_writes_no_signature_into_its_log(front: Front) -> None:
    address = signed()
    front.ask(address)
    wait_until(lambda: f"GET /media/{PICTURE} 200" in front.log.read_text())  # it is written behind the answer
    assert "signature" not in front.log.read_text()


def test_nginx_passes_only_public_paths_to_the_server(front: Front, upstream: socket.socket) -> None:
    upstream.settimeout(30)
    for path in ("/graphql", "/graphiql/x.js", "/healthz", "/readyz"):
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
        connection.request("GET", path, headers={"Authorization": "Bearer abc", "access_token": "def"})
        passed, _ = upstream.accept()
        with passed:
            request = passed.recv(65536).decode()
            passed.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert connection.getresponse().status == HTTPStatus.OK
        connection.close()
        assert request.startswith(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\n")
        assert "Authorization: Bearer abc\r\n" in request
        assert "access_token: def\r\n" in request
    for path in ("/metrics", "/", "/graphql/x", "/graphqlx"):
        assert front.ask(path)[0].status == HTTPStatus.NOT_FOUND


def test_nginx_names_a_host_to_the_server_also_where_an_old_client_names_none(
    front: Front, upstream: socket.socket
) -> None:
    upstream.settimeout(30)
    with socket.create_connection(("127.0.0.1", front.port), 30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        passed, _ = upstream.accept()
        with passed:
            request = passed.recv(65536)
            passed.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert b" 200 OK\r\n" in connection.recv(65536)
    assert request.startswith(b"GET /healthz HTTP/1.1\r\nHost: server\r\n")


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "a path": (b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n", 404, "NOT_FOUND"),
    "a path of pictures": (b"GET /media/.refused HTTP/1.1\r\nhost: here\r\n\r\n", 404, "NOT_FOUND"),
    "the refusals' own path": (b"GET /.refused HTTP/1.1\r\nhost: here\r\n\r\n", 404, "NOT_FOUND"),
    "a method": (b"TRACE / HTTP/1.1\r\nhost: here\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
    "no HTTP": (b"RUBBISH\r\n\r\n", 400, "BAD_REQUEST"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"a" * 200, 400, "BAD_REQUEST"),
    "a version": (b"GET / HTTP/3.0\r\nhost: here\r\n\r\n", 505, "BAD_REQUEST"),
    "a long address": (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: here\r\n\r\n", 414, "HEADERS_TOO_LARGE"),
    "long headers": (b"GET / HTTP/1.1\r\nx: " + b"x" * 40_000 + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
    "an upload": (
        b"POST /graphql HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000000\r\n\r\n",
        413,
        "PAYLOAD_TOO_LARGE",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_nginx_refuses_in_json_as_the_server_does(front: Front, kind: str) -> None:
    request, status, expected = REFUSED[kind]
    with socket.create_connection(("127.0.0.1", front.port), 30) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, code(response.read())) == (status, expected)
        assert response.headers["Content-Type"] == "application/json"


def test_nginx_says_in_json_that_the_server_does_not_answer(front: Front, upstream: socket.socket) -> None:
    upstream.settimeout(30)
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    connection.request("GET", "/healthz")
    upstream.accept()[0].close()
    response = connection.getresponse()
    assert (response.status, code(response.read())) == (HTTPStatus.BAD_GATEWAY, "SERVER_UNAVAILABLE")
    connection.close()


def test_a_photo_that_is_saved_through_nginx_is_sent_by_nginx(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with fronting(tmp_path, server.settings.media_root, port, KEY) as front:
        through = dataclasses.replace(server, url=f"http://127.0.0.1:{front.port}")
        image = through.save(content := photo())
        sent = through.get(image["url"])
        assert (sent.status_code, sent.content) == (HTTPStatus.OK, content)
        # The server marks whatever it answers; it was not asked for this.
        assert "x-request-id" not in sent.headers


def test_a_stranger_is_told_so_before_nginx_takes_the_upload(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    head = (
        "POST /graphql HTTP/1.1\r\nhost: here\r\nauthorization: Bearer nobody\r\ngraphql-require-preflight: 1\r\n"
        "content-type: multipart/form-data; boundary=b\r\ncontent-length: 100000000\r\n\r\n--b\r\n"
    )
    with (
        fronting(tmp_path, server.settings.media_root, port, KEY) as front,
        socket.create_connection(("127.0.0.1", front.port), 30) as connection,
    ):
        connection.sendall(head.encode() + b"x" * 3_000_000)
        received = b""
        while b"UNAUTHENTICATED" not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        assert [path for path in tmp_path.glob("body/**/*") if path.is_file()] == []


def test_nginx_waits_for_more_than_two_signs_of_life_of_a_subscription() -> None:
    (told,) = seconds_of("proxy_read_timeout")
    assert told > 2 * max(HEARTBEAT_SECONDS, PING_SECONDS)


def test_nginx_closes_its_idle_connections_before_the_server_does() -> None:
    assert all(
        told <= uvicorn.Config("", **OPTIONS).timeout_keep_alive - 15 for told in seconds_of("keepalive_timeout")
    )


def seconds_of(directive: str) -> list[int]:
    text = (PROJECT / "deploy" / "nginx.conf").read_text()
    return [int(told) for told in re.findall(rf"^ +{directive} (\d+)s;", text, re.MULTILINE)]


def test_each_event_comes_through_nginx_at_once_over_a_websocket_and_by_streams(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    with fronting(tmp_path, server.settings.media_root, port, KEY) as front:
        through = dataclasses.replace(server, url=f"http://127.0.0.1:{front.port}")
        with (
            following(through) as client,
            streaming(through, SSE) as stream,
            streaming(through, MULTIPART) as multipart,
        ):
            told, joined = events(stream), parts(multipart)
            for _ in range(2):
                pk = through.save(photo())["pk"]
                assert client.event()["image"]["pk"] == pk
                assert next(told)[1]["data"]["imageSaved"]["image"]["pk"] == pk
                assert next(joined)["payload"]["data"]["imageSaved"]["image"]["pk"] == pk
