"""What the planner answers is what graphql-core answers, data and errors, byte for byte; and so are parts together."""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import orjson
import pytest
from graphql import DocumentNode, ExecutionResult
from starlette.datastructures import UploadFile

from graphql_server import columns
from graphql_server.app import Resources, opened
from graphql_server.feed import Feed
from graphql_server.planner import Payloads, Plan
from graphql_server.schema import answers
from graphql_server.schema.answers import Answer
from graphql_server.schema.context import Context
from graphql_server.schema.execution import Executor, build_schema
from graphql_server.schema.limits import Limits
from graphql_server.schema.operations import Operation
from graphql_server.schema.parts import Parts
from tests.operations import Made, Maker
from tests.parts import Merged, merged
from tests.photos import photo
from tests.rows import Reader, put, put_datasets, serving, untrained_pk
from tests.servers import TOKEN, UserServer

COUNT = int(os.environ.get("COUNT", "100"))
SEED = os.environ.get("SEED", "1")
SCHEMA = build_schema()._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as the executor gets it
TRIES = 20
FEDERATION = ("_service",)  # is left to graphql-core
# Where a field fails, graphql-core cancels those beside it, and what one of them has not begun to await nobody awaits.
CANCELLED = "Executor[.]|.*_async_resolver"
cancelled = pytest.mark.filterwarnings(
    f"ignore:coroutine '({CANCELLED}).*' was never awaited:RuntimeWarning",
    # In a frame without __import__, as namedtuple writes some, Python cannot even warn.
    f"ignore:Exception ignored in. <coroutine object ({CANCELLED}):pytest.PytestUnraisableExceptionWarning",
)
CURSORS = "query($field: ImageOrderField!) { images(orderBy: {field: $field}) { edges { cursor } } }"
ODD: list[dict[str, Any]] = [
    {},
    {"original_file_name": "é \u2028.jpg", "exif_degree": 45, "model_degree": -90, "user_fix_degree": 2**31 - 1},
    {"confidence": 0.1, "model_degree": 360, "user_fix_degree": 0, "created_at": "2026-11-23 10:20:30.000004"},
    {"confidence": 1, "model_degree": 90, "user_fix_degree": 270, "created_at": "2026-11-23 10:20:30"},
    {"width": 640, "height": 480, "byte_size": 60_000, "sha256": "0" * 64, "content_type": "image/png"},
    {"byte_size": 2**40},  # no Int of GraphQL
    {"user_pk": 7, "confidence": 0.1},
]


class Plain(Executor):
    """The executor without the planner."""

    async def _with_payloads(
        self, plan: Payloads, document: DocumentNode, operation: Operation, context: Context
    ) -> ExecutionResult:
        return await self._by_core(document, operation, context)

    async def _as_planned(self, plan: Plan, operation: Operation, context: Context) -> None:
        return None


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Reader]:
    """Datasets and images as the predecessor left them, and as this server saves them."""
    with serving(request.param, request, tmp_path_factory.mktemp("planner")) as server:
        columns = dict.fromkeys(key for image in ODD for key in image)
        for dataset in (untrained_pk(server), *put_datasets(server, ["lunch", None, "lunch", "empty"])[:3]):
            images = [{"dataset_info_pk": dataset, "uuid_file_name": "u.jpg", **columns, **image} for image in ODD]
            put(server, "image_info", images)
        yield server


@asynccontextmanager
async def resources_of(server: Reader) -> AsyncGenerator[Resources]:
    async with opened(server.settings, httpx.MockTransport(UserServer())) as resources:
        yield resources


async def answered(
    executor: Executor, resources: Resources, made: Made | Operation, token: str | None = TOKEN
) -> Answer:
    context = Context(resources.album, Feed(resources.album.database, 1.0, 1), resources.users, token)
    operation = made if isinstance(made, Operation) else Operation(made.query, made.variables)
    answer = await executor.run(operation, context)
    assert isinstance(answer, Answer)
    return answer


def written(answer: Answer) -> bytes:
    """An answer in a form to compare: which error is the first, GraphQL leaves open."""
    body = dict(answer.body)
    if "errors" in body:
        body["errors"] = sorted(body["errors"], key=orjson.dumps)
    return orjson.dumps([body, answer.refused])


async def assert_plain(ours: Answer, plain: Executor, resources: Resources, made: Made, number: int) -> None:
    """Plain execution gives the same, sooner or later where of two errors the one that is met first hides the other."""
    theirs = await answered(plain, resources, made)
    for _ in range(TRIES if "errors" in ours.body else 0):
        if written(ours) != written(theirs):
            theirs = await answered(plain, resources, made)
    assert written(ours) == written(theirs), (number, made)


async def in_parts(executor: Executor, resources: Resources, made: Made) -> Merged | None:
    """What the parts of the answer make together; None where it comes at once."""
    context = Context(resources.album, Feed(resources.album.database, 1.0, 1), resources.users, TOKEN)
    answer = await executor.run(Operation(made.query, made.variables), context, in_parts=True)
    if isinstance(answer, Answer):
        return None
    assert isinstance(answer, Parts)
    return merged([orjson.loads(orjson.dumps(body)) async for body in answer.bodies()])


async def known_of(executor: Executor, resources: Resources) -> dict[str, Any]:
    """Keys, ids and cursors, of what is there and of what is not."""
    cursors: dict[str | None, list[str]] = {"TITLE": ["x"]}
    for field in ("CREATED_AT", "CONFIDENCE", "ORIGINAL_FILE_NAME"):
        found = await answered(executor, resources, Made(CURSORS, {"field": field}))
        cursors[field] = [edge["cursor"] for edge in found.body["data"]["images"]["edges"]] * 4 + ["x"]
    nodes = "{ images { nodes { id } } datasets { nodes { id } } }"
    found = await answered(executor, resources, Made(nodes, {}))
    ids = [node["id"] for each in found.body["data"].values() for node in each["nodes"]]
    entities = [{"__typename": kind, "pk": pk} for kind in ("Image", "Dataset") for pk in (1, 2, 3, 99)]

    def cursors_beside(arguments: dict[str, Any]) -> list[str]:
        order: dict[str, Any] = arguments.get("orderBy") or {}
        return cursors[order.get("field", "CREATED_AT")]

    return {
        "pk": [1, 2, 3, 4, 5, 9, 0, -1, 99],
        "datasetPk": [1, 2, 3, 99],
        "id": [*ids, "x"],
        "ids": [*ids, *ids, *ids, "SW1hZ2U6OTk="],
        "representations": [*entities * 3, *({"__typename": "Image", "id": each} for each in ids[:5]), {"pk": 1}],
        "first": [0, *[1, 2, 3, 5, 50] * 4, -1, 1001],
        "last": [0, 1, 2, 3, 5],
        "after": cursors_beside,
        "before": cursors_beside,
        "equals": ["", "lunch", "é \u2028.jpg"],
        "contains": ["", "u", "LUNCH", "%"],
        "Int": [0, 1],
        "Float": [0.1, 0.5, 1, 0],
        "Boolean": [True, False],
        "Degree": [*[0, 90, 360, 270] * 5, 45],
        "DateTime": [*["2026-11-23T10:20:30Z", "2026-11-23T10:20:30.000004+00:00"] * 5, "no time"],
        "String": ["x"],
    }


@cancelled
def test_made_up_operations_have_the_same_answer_planned_and_plain_and_in_parts(
    library: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COUNT of them; `SEED` and the number of one that differs make it up again."""
    monkeypatch.setattr(answers.secrets, "token_hex", str)  # the references of errors
    asyncio.run(compare(library))


async def compare(server: Reader) -> None:
    limits = replace(Limits.of(server.settings), cost=1_000_000)
    plain = Plain(limits, 20, {}, introspection=True)
    async with resources_of(server) as resources:
        sure = await columns.sure(resources.album.database)
        assert bool(sure) == server.settings.database_url.startswith("mysql")
        fast = Executor(limits, 20, sure, introspection=True)
        known = await known_of(plain, resources)
        good = parted = 0
        for number in range(COUNT):
            made = Maker(SCHEMA, known, Random(f"{SEED} {number}"), without=FEDERATION).operation()
            operation = Operation(made.query, made.variables)  # which is remembered with its plan
            ours, again = [await answered(fast, resources, operation) for _ in range(2)]
            for answer in {written(each): each for each in (ours, again)}.values():
                await assert_plain(answer, plain, resources, made, number)
            good += "errors" not in ours.body
            if (pieces := await in_parts(fast, resources, made)) and "errors" not in ours.body:
                assert (pieces.data, pieces.errors) == (ours.body["data"], []), (number, made)
                parted += 1
    assert good > COUNT / 2
    # What is answered without an error has been planned, but for a mistake below a dataset that is not there.
    assert good - fast.planned / 2 <= COUNT / 500
    assert parted > COUNT / 20
    assert plain.planned == 0


@cancelled
def test_made_up_mutations_have_the_same_payloads_planned_and_plain(
    library: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers.secrets, "token_hex", str)
    asyncio.run(compare_payloads(library))


async def compare_payloads(server: Reader) -> None:
    """All are sent a second time, when they have their effect no more."""
    limits = replace(Limits.of(server.settings), cost=1_000_000)
    plain = Plain(limits, 20, {}, introspection=True)
    async with resources_of(server) as resources:
        fast = Executor(limits, 20, await columns.sure(resources.album.database), introspection=True)
        known: dict[str, Any] = {**await known_of(plain, resources), **inputs()}
        for field in ("createDataset", "saveFix"):
            (name, (first, *_)) = next(each for each in inputs().items() if each[0].lower() == f"{field}input".lower())
            document = f"mutation($input: {name}!) {{ {field}(input: $input) {{ __typename }} }}"
            assert "errors" not in (await answered(plain, resources, Made(document, {"input": first}))).body
        good = 0
        for number in range(COUNT):
            made = Maker(SCHEMA, known, Random(f"{SEED} {number}"), without=("removeImage",)).operation("mutation")
            ours = await answered(fast, resources, made)
            await assert_plain(ours, plain, resources, made, number)
            good += "errors" not in ours.body
    assert good > COUNT / 3
    # Some ask for nothing but the name of the type.
    assert good - fast.planned <= COUNT / 10


def inputs() -> dict[str, list[Any]]:
    """Inputs of mutations by their types, the first of which is good."""
    file = UploadFile(io.BytesIO(photo(seed=1)), filename="x.jpg")
    fix = {"file": file, "modelDegree": 90, "confidence": 0.5, "userFixDegree": 0}
    broken = {**fix, "file": UploadFile(io.BytesIO(b"no photo"), filename="x.jpg")}
    return {
        "CreateDatasetInput": [{"title": "Supper", "idempotencyKey": "a"}] * 14
        + [{"title": " ", "idempotencyKey": "a"}],
        "SaveFixInput": [fix] * 28 + [{**fix, "confidence": 2}, broken],
    }
