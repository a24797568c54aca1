"""Load by wrk, and what it cost the server and the database."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from bench import machine

NUMBER = b"@" * 12  # wrk.lua writes another number here each time
EDGE = b"an-edge-that-no-photo-has"
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Figures:
    """What one shot of load came to; CPU in milliseconds for a request, p99 in milliseconds."""

    requests: int
    cpu: float
    database_cpu: float
    rate: float
    busy: float
    p99: float
    failed: int


def shoot(
    url: str,
    requests: Sequence[bytes],
    pid: int,
    database_pid: int,
    *,
    seconds: int,
    connections: int = 32,
    first: int = 0,
) -> Figures:
    """Send requests in turn over many connections; counted is the CPU of both processes and their children."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(requests))]
        for file, request in zip(files, requests, strict=True):
            file.write_bytes(request)
        before = machine.cpu_seconds(pid), machine.cpu_seconds(database_pid)
        done = _wrk(url, connections, seconds, [str(first), *map(str, files)])
        used = machine.cpu_seconds(pid) - before[0], machine.cpu_seconds(database_pid) - before[1]
    machine.settle(pid, database_pid)
    answered = max(done["requests"], 1)
    return Figures(
        requests=done["requests"],
        cpu=1e3 * used[0] / answered,
        database_cpu=1e3 * used[1] / answered,
        rate=answered / done["seconds"],
        busy=used[0] / done["seconds"],
        p99=done["p99"],
        failed=done["failed"],
    )


def _wrk(url: str, connections: int, seconds: int, arguments: Sequence[str]) -> dict[str, Any]:
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=60s", "-s", str(HERE / "wrk.lua")]
    ended = subprocess.run(
        ["taskset", "-c", str(machine.LOAD_CORE), "wrk", *options, url, "--", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return orjson.loads(ended.stdout.splitlines()[-1])


def request(url: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    """A whole HTTP request: a POST of a body, or a GET."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def form(operations: Mapping[str, Any], path: str, photo: bytes) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an upload: one file, whose place in the operations is `path`."""
    parts = (
        (b'name="operations"', orjson.dumps(operations)),
        (b'name="map"', orjson.dumps({"0": [path]})),
        (b'name="0"; filename="photo.jpg"\r\ncontent-type: image/jpeg', photo),
    )
    body = b"".join(b"--%b\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (EDGE, *part) for part in parts)
    headers = {"content-type": f"multipart/form-data; boundary={EDGE.decode()}", "graphql-require-preflight": "1"}
    return body + b"--%b--\r\n" % EDGE, headers
