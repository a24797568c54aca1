"""The real nginx on deploy's files, reached by real HTTP; only its places are others than in the container."""

import http.client
import os
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import free_port

DEPLOY = Path(__file__).parent.parent / "deploy"


@dataclass(frozen=True)
class Front:
    """A running nginx, and the folder whose pictures it sends."""

    port: int
    pid: int
    media: Path
    log: Path

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a path just as it is; names of headers are written with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=sent)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()


@contextmanager
def fronting(folder: Path, media: Path, server_port: int, keys: str) -> Generator[Front]:
    """Run nginx until the block ends; what it writes goes into `folder`."""
    port = free_port()
    (folder / "nginx.conf").write_text(_configuration(folder, media, server_port, port))
    (folder / "media.js").write_text((DEPLOY / "media.js").read_text())
    # Root's temporary folder is closed to the user that nginx would otherwise step down to.
    main = "daemon off;" + (" user root;" if os.getuid() == 0 else "")
    nginx = subprocess.Popen(
        ["nginx", "-c", folder / "nginx.conf", "-g", main], env=os.environ | {"MEDIA_SIGNING_KEY": keys}
    )
    try:
        _wait_for(port, nginx)
        yield Front(port, nginx.pid, media, folder / "access.log")
    finally:
        nginx.terminate()
        nginx.wait(10)


def _configuration(folder: Path, media: Path, server_port: int, port: int) -> str:
    text = (DEPLOY / "nginx.conf").read_text()
    for here, there in {
        " /tmp/": f" {folder}/",
        "/dev/stdout": f"{folder}/access.log",
        "/srv/media/": f"{media}/",
        "listen 8080;": f"listen 127.0.0.1:{port};",
        "server server:8000;": f"server 127.0.0.1:{server_port};",
    }.items():
        assert here in text
        text = text.replace(here, there)
    return text


def _wait_for(port: int, nginx: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert nginx.poll() is None, "nginx did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("nginx does not listen")
