"""What the number of images costs: the same requests on databases of several sizes."""

import asyncio
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench import data, load, machine, reads, saves, servers
from bench.load import NUMBER, Figures
from bench.photos import photo
from bench.servers import Contender

PAGE = f"images(first: 100, after: $after) {{ nodes {{ {reads.FIELDS} }} }}"
WRONG = f"images(first: 10, after: $after, filter: {{modelWasWrong: true}}) {{ nodes {{ {reads.FIELDS} }} }}"
QUERIES = {
    "a page of 100 in the middle": f"query($pk: Int!, $after: String) {{ dataset(pk: $pk) {{ {PAGE} }} }}",
    "10 of one mistake in 200": f"query($pk: Int!, $after: String) {{ dataset(pk: $pk) {{ {WRONG} }} }}",
    "a dataset's count": "query($pk: Int!) { dataset(pk: $pk) { images(first: 0) { totalCount } } }",
}
REMOVE = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } } }"


def report(server_url: str, sizes: Sequence[int], rounds: int, seconds: int) -> Iterator[str]:
    yield machine.about()
    yield "| images | what | server CPU ms | database CPU ms | failed |"
    yield "|---:|---|---:|---:|---:|"
    for size in sizes:
        filled = asyncio.run(data.fill(server_url, size))
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, servers.ours(filled.url, Path(folder)) as contender:
            for what, request in requests(contender, size).items():
                removes = what.startswith("a removal")
                shots: list[Figures] = []
                first = 0 if removes else saves.number()
                for _ in range(rounds + 1):
                    shots.append(
                        load.shoot(contender.url, [request], contender.pid, filled.pid, seconds=seconds, first=first)
                    )
                    first += shots[-1].requests + 1000  # those under way at the end have been sent
                cpu, database = (
                    statistics.median(getattr(shot, name) for shot in shots[1:]) for name in ("cpu", "database_cpu")
                )
                yield f"| {size:,} | {what} | {cpu:.2f} | {database:.2f} | {sum(shot.failed for shot in shots)} |"


def requests(contender: Contender, size: int) -> dict[str, bytes]:
    """A whole request for each thing that is measured."""
    variables = {"pk": data.LARGE, "after": reads.cursor(size // 2)}
    found = {what: ask(contender, query, variables) for what, query in QUERIES.items()}
    # The key is counted up from one: the images are removed in the order in which they were saved.
    removal = ask(contender, REMOVE, {"pk": "KEY"}).replace(b'"KEY"', NUMBER)
    length = b"content-length: %d"
    body = removal.partition(b"\r\n\r\n")[2]
    found["a removal"] = removal.replace(length % (len(body) - 7), length % len(body))
    found["a save"] = saves.upload(contender, photo())
    return found


def ask(contender: Contender, query: str, variables: dict[str, Any]) -> bytes:
    body = orjson.dumps({"query": query, "variables": variables})
    return load.request(contender.url, body, reads.json_headers(contender))
