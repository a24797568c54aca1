"""Every statement that the server can send is served by an index on MySQL, and lists read no rows beyond their page.

What is looked for is rare and lies at the end, so that a statement which walks there reads thousands of rows.
"""

import asyncio
import base64
import itertools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

import orjson
import pytest
from asyncmy.connection import Connection

from graphql_server.database import Database
from graphql_server.engines import Session
from graphql_server.engines.mysql import MySQL
from tests.photos import photo
from tests.rows import Reader, put_datasets, put_images, serving, sql, untrained_pk
from tests.together import CREATE, REMOVE, at_once, saving

ROWS = 2_000  # of each dataset, and a few rare ones behind them
PAGE = 3
READ_AT_MOST = 10  # rows by a SELECT of a page, one row beyond it included
WAYS = ("ASC", "DESC")
RARE = {
    "original_file_name": "rare.jpg",
    "user_fix_degree": 90,
    "exif_degree": 90,
    "model_degree": 90,
    "confidence": 2.5,
    "created_at": "2027-06-01",
}
FIELDS = ("CREATED_AT", "CONFIDENCE", "ORIGINAL_FILE_NAME")
# Filters, and the orders in which an index leads to what they find.
LED: list[tuple[dict[str, Any] | None, tuple[str, ...]]] = [
    (None, FIELDS),
    ({"modelWasWrong": True}, ("CREATED_AT",)),
    ({"userFixDegree": [90, 180, 270]}, ("CREATED_AT",)),
    ({"originalFileName": {"equals": "rare.jpg"}}, ("CREATED_AT", "ORIGINAL_FILE_NAME")),
    ({"confidence": {"from": 2, "to": 3}}, ("CONFIDENCE",)),
]
# What is looked for along the list; docs/operating.md says so.
WALKED: list[dict[str, Any]] = [
    {"originalFileName": {"contains": "RAR"}},
    {"exifDegree": [90]},
    {"modelDegree": [90]},
    {"createdAt": {"from": "2027-01-01T00:00:00Z"}},
    {"modelWasWrong": False, "exifDegree": [180]},
]
VARIABLES = "$first: Int, $last: Int, $after: String, $before: String, $orderBy: {0}Order, $filter: {0}Filter"
LIST = (
    "(first: $first, last: $last, after: $after, before: $before, orderBy: $orderBy, filter: $filter) "
    "{ edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage } }"
)
IMAGES = f"query({VARIABLES.format('Image')}) {{ images{LIST} }}"
NESTED = f"query({VARIABLES.format('Image')}) {{ datasets {{ nodes {{ images{LIST} }} }} }}"
DATASETS = f"query({VARIABLES.format('Dataset')}) {{ datasets{LIST} }}"
OTHERS = """query($pk: Int!, $image: ID!) {
  untrained { images { totalCount } } dataset(pk: $pk) { images { totalCount } } image(pk: $pk) { dataset { title } }
  node(id: $image) { id } images { totalCount } wrong: images(filter: {modelWasWrong: true}) { totalCount }
}"""


@pytest.fixture(scope="module")
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Reader]:
    with serving("mysql", request, tmp_path_factory.mktemp("plans")) as server:
        for dataset_pk in (untrained_pk(server), *put_datasets(server, ["Lunch"])):
            usual = [
                {**RARE, "original_file_name": f"IMG_{number}.jpg", "confidence": number / ROWS, **USUAL}
                for number in range(ROWS)
            ]
            put_images(server, dataset_pk, usual)
            put_images(server, dataset_pk, [RARE] * 5)
        sql(server, "ANALYZE TABLE image_info, dataset_info")
        yield server


USUAL = {"user_fix_degree": 0, "exif_degree": 0, "model_degree": 0, "created_at": "2026-01-01"}


@contextmanager
def sent() -> Generator[list[str]]:
    """Every statement that is sent while the block runs, as MySQL gets it, each once."""
    texts: dict[str, None] = {}
    query: Any = getattr(Connection, "query")  # noqa: B009 - the driver has no types
    fetch = MySQL.fetch

    async def sent_as_text(self: Any, text: Any, *args: Any, **kwargs: Any) -> Any:
        texts[text if isinstance(text, str) else text.decode()] = None
        return await query(self, text, *args, **kwargs)

    async def sent_prepared(self: Any, text: str, args: Any) -> Any:
        texts[text.replace("?", "{}").format(*map(literal, args))] = None
        return await fetch(self, text, args)

    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "query", sent_as_text)
        patch.setattr(MySQL, "fetch", sent_prepared)
        yield found
    found += [text for text in texts if text.startswith(("SELECT", "(SELECT", "UPDATE", "DELETE"))]


def literal(arg: object) -> str:
    if isinstance(arg, datetime):
        arg = str(arg.replace(tzinfo=None))
    return f"'{arg}'" if isinstance(arg, str) else str(arg)


@asynccontextmanager
async def session_of(reader: Reader) -> AsyncGenerator[Session]:
    database = await Database.open(reader.settings.database_url)
    try:
        async with database.engine.session() as session:
            yield session
    finally:
        await database.close()


async def faults(reader: Reader, statements: list[str]) -> list[str]:
    """What EXPLAIN says of statements that must not be."""
    found: list[str] = []
    async with session_of(reader) as session:
        for text in statements:
            for row in await session.fetch(f"EXPLAIN FORMAT=TRADITIONAL {text}"):
                # MySQL has two columns that MariaDB does not have.
                kind, key = (row[4], row[6]) if len(row) == 12 else (row[3], row[5])
                table, extra = str(row[2]), str(row[-1])
                unserved = table.endswith("_info") and (key is None or kind == "ALL")
                if unserved or "filesort" in extra or "temporary" in extra:
                    found.append(f"{table} {kind} {key} {extra}: {text}")
    return found


async def rows_read(reader: Reader, text: str) -> int:
    async with session_of(reader) as session:
        await session.fetch("FLUSH STATUS")
        await session.fetch(text)
        return sum(int(value) for _, value in await session.fetch("SHOW SESSION STATUS LIKE 'Handler_read%%'"))


def cursor(field: str, value: Any, pk: int) -> str:
    parts = [field, pk] if field == "CREATED_AT" else [field, value, pk]
    return base64.b64encode(orjson.dumps(parts)).decode()


def places(field: str, way: str) -> Generator[dict[str, Any]]:
    """The ways to ask for a page: from either end, behind a cursor, before one, and between two."""
    values = {"CREATED_AT": (0, 0), "CONFIDENCE": (0.1, 0.9), "ORIGINAL_FILE_NAME": ("IMG_2", "IMG_8"), "TITLE": "KM"}
    low, high = (cursor(field, value, pk) for value, pk in zip(values[field], (ROWS // 10, ROWS), strict=True))
    ends = (low, high) if way == "ASC" else (high, low)
    for size, after, before in itertools.product(("first", "last"), (None, ends[0]), (None, ends[1])):
        yield {size: PAGE, "after": after, "before": before}


@pytest.mark.parametrize("query", [IMAGES, NESTED], ids=["all", "nested"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_page_of_images_is_read_from_an_index_whatever_its_filter(reader: Reader, query: str, field: str) -> None:
    for way, narrowed in itertools.product(WAYS, [led for led, _ in LED] + WALKED):
        with sent() as statements:
            for place in places(field, way):
                reader.data(query, {**place, "orderBy": {"field": field, "direction": way}, "filter": narrowed})
        assert len(statements) >= 4
        assert asyncio.run(faults(reader, statements)) == []


@pytest.mark.parametrize("query", [IMAGES, NESTED], ids=["all", "nested"])
@pytest.mark.parametrize(("narrowed", "field"), [(led, field) for led, fields in LED for field in fields])
def test_a_page_reads_no_more_rows_than_it_has(
    reader: Reader, query: str, narrowed: dict[str, Any] | None, field: str
) -> None:
    for way in WAYS:
        with sent() as statements:
            for place in places(field, way):
                reader.data(query, {**place, "orderBy": {"field": field, "direction": way}, "filter": narrowed})
        assert statements
        for text in statements:
            assert asyncio.run(rows_read(reader, text)) <= READ_AT_MOST * text.count("SELECT"), text


@pytest.mark.parametrize("field", ["CREATED_AT", "TITLE"])
def test_a_page_of_datasets_is_read_from_an_index(reader: Reader, field: str) -> None:
    filters = [None, {"title": {"equals": "Lunch"}}, {"title": {"contains": "un"}}, {"isUntrained": True}]
    for way, narrowed in itertools.product(WAYS, filters):
        with sent() as statements:
            for place in places(field, way):
                reader.data(DATASETS, {**place, "orderBy": {"field": field, "direction": way}, "filter": narrowed})
        assert statements
        assert asyncio.run(faults(reader, statements)) == []


def test_what_is_found_by_key_and_what_is_counted_is_read_from_an_index(reader: Reader) -> None:
    with sent() as statements:
        reader.data(OTHERS, {"pk": untrained_pk(reader), "image": base64.b64encode(b"Image:5").decode()})
    assert len(statements) >= 5
    assert asyncio.run(faults(reader, statements)) == []
    assert not [text for text in statements if "COUNT(*)" in text and "model_was_wrong" not in text]


def test_mysql_reads_no_whole_table_for_many_keys(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    """It warns where they are too many for range_optimizer_max_mem_size; MariaDB has no such limit."""
    ids = [base64.b64encode(b"Image:%d" % pk).decode() for pk in range(1, 15_001)]
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Image { url } } images { totalCount } }"
    data = reader.data(query, {"ids": ids})
    assert sum(node is not None for node in data["nodes"]) == data["images"]["totalCount"]
    assert [record.getMessage() for record in caplog.records if record.name == "asyncmy"] == []


def test_what_a_change_reads_is_read_from_an_index(reader: Reader) -> None:
    with sent() as statements:
        image = reader.save(photo(), idempotencyKey="once")
        at_once(reader, [saving(photo(seed=seed), idempotencyKey=f"{seed}") for seed in [*range(20), *range(20)]])
        reader.data(REMOVE, {"pk": image["pk"]})
        reader.data(CREATE, {"title": "Dinner"})
    assert any("uuid_file_name, pk FROM" in text for text in statements), "none were saved together"
    assert len(statements) >= 6
    assert asyncio.run(faults(reader, statements)) == []
