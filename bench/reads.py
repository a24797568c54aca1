"""What it costs to read: six workloads, the same for us, for the peers and for the limit."""

import base64
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from bench import data, load, servers
from bench.data import Filled
from bench.load import Figures
from bench.servers import REFERENCE, Contender

FIELDS = "pk originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree"
DOCUMENTS = {
    "Datasets": "query Datasets { datasets(first: 50) { nodes { pk title } } }",
    "Images": "query Images($pk: Int!, $first: Int!, $after: String) "
    f"{{ dataset(pk: $pk) {{ images(first: $first, after: $after) {{ nodes {{ {FIELDS} }} }} }} }}",
    "Nested": "query Nested($images: Int!) "
    f"{{ datasets(first: 50) {{ nodes {{ pk title images(first: $images) {{ nodes {{ {FIELDS} }} }} }} }} }}",
}
VARIANTS = 32  # requests that a workload takes turns with
Rounds = dict[str, list[Figures]]


@dataclass(frozen=True, slots=True)
class Workload:
    """An operation, its several variables, and what it reads."""

    name: str
    what: str
    operation: str
    variables: list[dict[str, Any]]

    def bodies(self) -> list[bytes]:
        query = DOCUMENTS[self.operation]
        return [
            orjson.dumps({"query": query, "operationName": self.operation, "variables": given})
            for given in self.variables
        ]


def workloads(images: int) -> list[Workload]:
    def pages(first: int, places: Sequence[int]) -> list[dict[str, Any]]:
        return [{"pk": data.LARGE, "first": first, "after": cursor(place)} for place in places]

    step = images // (2 * VARIANTS)
    late = [images * 4 // 5 + 100 * number for number in range(VARIANTS)]
    return [
        Workload("W1", "50 datasets, 2 fields", "Datasets", [{}]),
        Workload("W2", "100 images, 7 fields", "Images", pages(100, [step * number for number in range(VARIANTS)])),
        Workload("W3", "1,000 images, 7 fields", "Images", pages(1000, [step * number for number in range(VARIANTS)])),
        Workload("W4", "50 datasets × 10 images", "Nested", [{"images": 10}]),
        Workload("W5a", "the first 100 images", "Images", [{"pk": data.LARGE, "first": 100, "after": None}]),
        Workload("W5b", "100 images after four fifths", "Images", pages(100, late)),
    ]


def cursor(pk: int) -> str:
    return base64.b64encode(orjson.dumps(["CREATED_AT", pk])).decode()


def measure(filled: Filled, names: Sequence[str], rounds: int, seconds: int) -> dict[str, Rounds]:
    """The rounds of each workload, every contender in every round, in turns; first each must give the same answers."""
    found: dict[str, Rounds] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contenders = [stack.enter_context(servers.ours(filled.url, Path(folder)))]
        contenders += [stack.enter_context(servers.peer(name, filled.url, Path(folder))) for name in names]
        for work in workloads(filled.images):
            compare(contenders, work)
            figures = found[f"{work.name} {work.what}"] = {contender.name: list[Figures]() for contender in contenders}
            for number in range(rounds + 1):
                turn = number % len(contenders)
                for contender in contenders[turn:] + contenders[:turn]:
                    shot = shoot(contender, work, filled.pid, seconds)
                    if number:  # the first round warms up
                        figures[contender.name].append(shot)
    return found


def compare(contenders: Sequence[Contender], work: Workload) -> None:
    """Every contender must give the same data; SystemExit where one does not."""
    for body in (work.bodies()[0], work.bodies()[-1]):
        answers = {contender.name: ask(contender, body) for contender in contenders}
        wrong = [name for name, answer in answers.items() if answer != answers[REFERENCE]]
        if wrong:
            raise SystemExit(f"{work.name}: not the data of {REFERENCE}: {', '.join(wrong)} {answers[wrong[0]]!s:.500}")


def ask(contender: Contender, body: bytes) -> Any:
    answer = httpx.post(contender.url, content=body, headers=json_headers(contender), timeout=60).json()
    return answer if answer.get("errors") else answer["data"]


def json_headers(contender: Contender) -> dict[str, str]:
    return {"content-type": "application/json", "accept": "application/json", **contender.headers}


def shoot(contender: Contender, work: Workload, database_pid: int, seconds: int) -> Figures:
    requests = [load.request(contender.url, body, json_headers(contender)) for body in work.bodies()]
    return load.shoot(contender.url, requests, contender.pid, database_pid, seconds=seconds)


def ratios(rounds: Rounds) -> dict[str, float]:
    """CPU of each contender as a multiple of the reference's in the same round, the median of the rounds."""
    return {
        name: statistics.median(mine.cpu / its.cpu for mine, its in zip(figures, rounds[REFERENCE], strict=True))
        for name, figures in rounds.items()
    }
