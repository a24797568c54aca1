"""What is under way when a server is told to end."""

import errno
import json
import socket
from pathlib import Path

import httpx
import orjson
import pytest

from tests.holdings import assert_whole, files_in
from tests.live import MULTIPART, SSE, events, following, parts, streaming
from tests.parts import MUCH, merged, parting, parts_of
from tests.photos import photo
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.rows import put_images, untrained_pk
from tests.servers import SAVE_FIX, TOKEN, settings_for
from tests.waiting import wait_until


def slowly(process: Process) -> tuple[socket.socket, bytes]:
    """Begin to upload a photo, and keep its second half back when the server has asked for it."""
    operations = json.dumps(
        {
            "query": SAVE_FIX,
            "variables": {"input": {"file": None, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}},
        }
    )
    request = httpx.Request(
        "POST",
        f"{process.url}/graphql",
        data={"operations": operations, "map": '{"0": ["variables.input.file"]}'},
        files={"0": ("photo.jpg", photo(size=(640, 480)))},
        headers={"authorization": f"Bearer {TOKEN}", "graphql-require-preflight": "1", "connection": "close"}
        | {"expect": "100-continue"},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.read()
    connection = socket.create_connection(("127.0.0.1", process.port), 30)
    connection.sendall(f"POST /graphql HTTP/1.1\r\n{head}\r\n".encode())
    assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body[: len(body) // 2])
    return connection, body[len(body) // 2 :]


def refuses(process: Process) -> bool:
    """Whether a further connection is refused at once, and left to nobody."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", process.port)) == errno.ECONNREFUSED


def test_after_sigterm_requests_in_flight_are_finished_no_others_taken_and_the_status_is_0(
    database_url: str, engine: str, tmp_path: Path
) -> None:
    workers = "2" if engine == "mysql" else "1"
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        with started(tmp_path, "serve", WORKERS=workers, **settings) as process:
            server = server_of(process, settings)
            server.save(photo())
            uploads = [slowly(process) for _ in range(4)]
            process.popen.terminate()
            wait_until(lambda: refuses(process))
            assert process.popen.poll() is None
            for connection, rest in uploads:
                connection.sendall(rest)
            answers = [b"".join(iter(lambda c=connection: c.recv(65_536), b"")) for connection, _ in uploads]
            for connection, _ in uploads:
                connection.close()
            assert process.popen.wait(20) == 0
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert orjson.loads(body)["data"]["saveFix"]["image"]["width"] == 640
    assert len(files_in(tmp_path / "media")) == 5
    assert_whole(settings_for(database_url, tmp_path / "media"))
    assert process.errors.read_text() == ""


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_after_sigterm_parts_are_sent_to_the_last_and_who_follows_is_told_to_come_again(
    database_url: str, tmp_path: Path
) -> None:
    """One of them reads nothing, and is waited for as long as SHUTDOWN_SECONDS says."""
    query = f"{{ images(first: 1000) {{ nodes @stream(initialCount: 50) {{ {MUCH} }} }} }}"
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        with started(tmp_path, "serve", SHUTDOWN_SECONDS="4", **settings) as process:
            server = server_of(process, settings)
            put_images(server, untrained_pk(server), [{"original_file_name": f"{at}.jpg"} for at in range(1000)])
            with (
                parting(server, query) as parted,
                parting(server, query),
                streaming(server, SSE) as stream,
                streaming(server, MULTIPART) as multipart,
                following(server) as client,
            ):
                pieces = parted.iter_bytes()
                came = next(pieces)
                process.popen.terminate()
                process.await_line("Shutting down")
                came += b"".join(pieces)
                assert len(merged(parts_of(came)).data["images"]["nodes"]) == 1000
                assert client.closed()[0] == 1001
                assert list(events(stream)) == []
                assert [part["errors"][0]["extensions"]["code"] for part in parts(multipart)] == ["SERVER_STOPPING"]
                assert process.popen.wait(20) == 0
            assert [line for line in process.log() if line["level"] == "error"] == []
    assert process.errors.read_text() == ""
