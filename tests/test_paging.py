"""Lists by pages: every order, both ways, and which cursors are refused."""

import base64
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tests.pages import (
    DATASETS,
    DIRECTIONS,
    FIELDS,
    IMAGES,
    NESTED,
    Row,
    model_page,
    order_by,
    ordered,
    page,
    pks,
    walk,
)
from tests.rows import Reader, put_datasets, put_images, serving, untrained_pk
from tests.servers import Server

IMAGE_ORDERS = [(field, way) for field in FIELDS for way in DIRECTIONS]
DATASET_ORDERS = [(field, way) for field in ("CREATED_AT", "TITLE") for way in DIRECTIONS]
# Ties, neighbours that differ in the last bit, and what the predecessor kept: nothing, and any double.
CONFIDENCES = [None, None, -1.0, 0.0, 5e-324, 0.1, 0.3, 0.1 + 0.2, 1 / 3, 0.5, 0.5, 0.870000004768372, 1.0, 1e38]
NAMES = [
    None,
    None,
    "",
    "a.jpg",
    "a.jpg",
    "A.jpg",
    "a.jpG",
    "b's.jpg",
    "가.jpg",
    "사진.jpg",
    "사" * 255,
    "É",
    "é",
    "😀",
    "ﷺ",
]
TITLES = [None, "", "Lunch", "lunch", "Lunch", "점심", "저녁", "É", "é", "zebra", "Zebra", "1e5", "😀", "ﷺ", None]


@dataclass
class Library:
    """A server and the rows that it was given, in the order of their keys."""

    server: Reader
    images: list[Row] = field(default_factory=list[Row])
    datasets: list[Row] = field(default_factory=list[Row])


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    rng = random.Random(20261123)
    with serving(request.param, request, tmp_path_factory.mktemp("paging")) as server:
        first = untrained_pk(server)
        library = Library(server, datasets=[{"pk": first, "title": "untrained"}])
        titled = put_datasets(server, TITLES)
        library.datasets += [{"pk": pk, "title": title} for pk, title in zip(titled, TITLES, strict=True)]
        for dataset in (titled[0], first, titled[0]):
            given = [
                {
                    "confidence": rng.choice(CONFIDENCES),
                    "original_file_name": rng.choice(NAMES),
                    "user_fix_degree": rng.choice([0, 90]),
                }
                for _ in range(20)
            ]
            pks = put_images(server, dataset, given)
            library.images += [{"pk": pk, "dataset": dataset, **row} for pk, row in zip(pks, given, strict=True)]
        yield library


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_pages_of_images_give_each_image_once_and_in_order(library: Library, order: tuple[str, str]) -> None:
    expected = ordered(library.images, order)
    for backward in (False, True):
        assert walk(library.server, IMAGES, 13, backward=backward, orderBy=order_by(order)) == expected
    assert pks(page(library.server, IMAGES, first=1000, orderBy=order_by(order))) == expected
    assert pks(page(library.server, IMAGES, last=1000, orderBy=order_by(order))) == expected


@pytest.mark.parametrize("order", IMAGE_ORDERS)
def test_pages_of_a_datasets_images_give_each_once_and_in_order(library: Library, order: tuple[str, str]) -> None:
    dataset = library.images[0]["dataset"]
    expected = ordered((row for row in library.images if row["dataset"] == dataset), order)
    for backward in (False, True):
        assert walk(library.server, NESTED, 7, backward=backward, orderBy=order_by(order), pk=dataset) == expected


@pytest.mark.parametrize("order", DATASET_ORDERS)
def test_pages_of_datasets_give_each_dataset_once_and_in_order(library: Library, order: tuple[str, str]) -> None:
    expected = ordered(library.datasets, order)
    for backward in (False, True):
        assert walk(library.server, DATASETS, 3, backward=backward, orderBy=order_by(order)) == expected
    assert pks(page(library.server, DATASETS, first=1000, orderBy=order_by(order))) == expected


def test_lists_are_in_the_order_of_creation_unless_told_otherwise(library: Library) -> None:
    assert pks(page(library.server, IMAGES, first=1000)) == [row["pk"] for row in library.images]
    assert pks(page(library.server, DATASETS)) == [row["pk"] for row in library.datasets]
    assert pks(page(library.server, DATASETS, orderBy={})) == [row["pk"] for row in library.datasets]


@dataclass(frozen=True)
class Draw:
    """A page drawn by lot, and the model's answer to it."""

    arguments: str
    answer: Row


def draw(library: Library, rng: random.Random, cursors: dict[tuple[str, str], dict[int, str]]) -> Draw:
    order = rng.choice(IMAGE_ORDERS)
    dataset = library.images[0]["dataset"]
    scopes: list[tuple[str, Callable[[Row], bool]]] = [
        ("{}", lambda row: True),
        (f"{{datasetPk: {dataset}}}", lambda row: row["dataset"] == dataset),
        ("{modelWasWrong: true}", lambda row: row["user_fix_degree"] != 0),
    ]
    narrowed, keeps = rng.choice(scopes)
    everything = ordered(library.images, order)
    kept = set(ordered(filter(keeps, library.images), order))
    limit, backward = rng.randrange(25), rng.random() < 0.5
    after, before = (rng.choice([None, *everything]) for _ in range(2))
    arguments = [f"{'last' if backward else 'first'}: {limit}", f"filter: {narrowed}"]
    arguments.append(f"orderBy: {{field: {order[0]}, direction: {order[1]}}}")
    for name, pk in (("after", after), ("before", before)):
        if pk is not None:
            arguments.append(f'{name}: "{cursors[order][pk]}"')
    return Draw(", ".join(arguments), model_page(everything, kept, (after, before), limit, backward=backward))


def test_any_page_is_what_the_model_says(library: Library) -> None:
    rng = random.Random(4)
    cursors = {
        order: {edge["node"]["pk"]: edge["cursor"] for edge in page_of_all["edges"]}
        for order in IMAGE_ORDERS
        for page_of_all in [page(library.server, IMAGES, first=1000, orderBy=order_by(order))]
    }
    for _ in range(25):
        draws = [draw(library, rng, cursors) for _ in range(8)]
        asked = " ".join(
            f"p{number}: images({draw.arguments})"
            " { nodes { pk } pageInfo { hasPreviousPage hasNextPage } totalCount }"
            for number, draw in enumerate(draws)
        )
        answer = library.server.data(f"{{ {asked} }}")
        for number, drawn in enumerate(draws):
            assert answer[f"p{number}"] == drawn.answer, drawn.arguments


def test_nested_pages_of_all_datasets_are_each_their_own(library: Library) -> None:
    order = {"field": "CONFIDENCE", "direction": "DESC"}
    everything = page(library.server, IMAGES, first=1000, orderBy=order)["edges"]
    after = everything[15]["cursor"]
    answer = library.server.data(
        """query($after: String, $orderBy: ImageOrder) { datasets { nodes { pk
            images(first: 4, after: $after, orderBy: $orderBy) { totalCount nodes { pk } pageInfo { hasNextPage } }
        } } }""",
        {"after": after, "orderBy": order},
    )
    dataset_of = {row["pk"]: row["dataset"] for row in library.images}
    behind = [edge["node"]["pk"] for edge in everything[16:]]
    for dataset in answer["datasets"]["nodes"]:
        own = [pk for pk in behind if dataset_of[pk] == dataset["pk"]]
        assert dataset["images"] == {
            "totalCount": [row["dataset"] for row in library.images].count(dataset["pk"]),
            "nodes": [{"pk": pk} for pk in own[:4]],
            "pageInfo": {"hasNextPage": len(own) > 4},
        }


def test_an_empty_page_tells_what_lies_around_its_cursors(library: Library) -> None:
    edges = page(library.server, IMAGES, first=1000)["edges"]
    start, second, end = (edges[at]["cursor"] for at in (0, 1, -1))
    none = {"startCursor": None, "endCursor": None}
    for variables, previous, following in (
        ({"first": 0}, False, True),
        ({"last": 0}, True, False),
        ({"first": 0, "after": start}, True, True),
        ({"last": 0, "before": end}, True, True),
        ({"after": end}, True, False),
        ({"last": 5, "before": start}, False, True),
        ({"first": 5, "after": start, "before": second}, True, False),
        ({"last": 5, "after": start, "before": second}, False, True),
    ):
        got = page(library.server, IMAGES, **variables)
        assert got["edges"] == []
        assert got["totalCount"] == len(edges)
        assert got["pageInfo"] == {"hasPreviousPage": previous, "hasNextPage": following, **none}, variables


def test_an_empty_list_is_a_page_without_neighbours(library: Library) -> None:
    got = page(library.server, NESTED, pk=library.datasets[-1]["pk"])
    info = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert got == {"totalCount": 0, "edges": [], "pageInfo": info}


def test_a_page_has_50_items_unless_told_otherwise_and_at_most_1000(server: Server) -> None:
    dataset = untrained_pk(server)
    put_images(server, dataset, [dict[str, Any]()] * 1001)
    for query, variables in ((IMAGES, {}), (NESTED, {"pk": dataset})):
        for unsaid in ({}, {"first": None, "last": None, "after": None, "before": None}):
            assert len(page(server, query, **variables, **unsaid)["edges"]) == 50
        largest = page(server, query, first=1000, **variables)
        assert len(largest["edges"]) == 1000
        assert largest["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize("query", [IMAGES, NESTED, DATASETS])
def test_a_number_of_items_that_cannot_be_is_refused(library: Library, query: str) -> None:
    pk = library.datasets[0]["pk"]
    for wrong in (
        {"first": -1},
        {"last": -1},
        {"first": 1001},
        {"last": 1001},
        {"first": 1, "last": 1},
        {"first": 0, "last": 0},
        {"first": -(2**31) - 1},
        {"first": True},
        {"first": "5"},
        {"first": 1.5},
    ):
        assert library.server.codes(query, {"pk": pk, **wrong}) == ["BAD_USER_INPUT"], wrong


def forged(*parts: Any) -> str:
    return base64.b64encode(orjson.dumps(parts)).decode()


CURSORS_OF_OTHERS: dict[str, list[list[Any]]] = {
    "CREATED_AT": [["CONFIDENCE", 0.5, 1], ["CREATED_AT", 0.5, 1], ["CREATED_AT", None, 1], ["TITLE", "a", 1]],
    "CONFIDENCE": [
        ["CREATED_AT", 1],
        ["ORIGINAL_FILE_NAME", "a", 1],
        ["CONFIDENCE", "a", 1],
        ["CONFIDENCE", True, 1],
        ["CONFIDENCE", [0.5], 1],
        ["CONFIDENCE", {}, 1],
    ],
    "ORIGINAL_FILE_NAME": [
        ["CREATED_AT", 1],
        ["CONFIDENCE", 0.5, 1],
        ["ORIGINAL_FILE_NAME", 0.5, 1],
        ["ORIGINAL_FILE_NAME", 5, 1],
        ["ORIGINAL_FILE_NAME", False, 1],
    ],
}
KEYS_THAT_CANNOT_BE = [2**31, 2**63, -1, True, "1", 1.0, None, [1]]
NO_CURSORS = ["", " ", "AAA", "é", "1", "null", "arrayconnection:1", "A" * 10_000]
NO_LISTS = ["", "1", "null", "[]", "{}", '"CREATED_AT"', "[1]", "\ud7ff", "[" * 5000, '["CREATED_AT", 1e999]', "[NaN]"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_cursor_that_this_list_did_not_give_is_refused(library: Library, field: str) -> None:
    value = {"CREATED_AT": [], "CONFIDENCE": [0.5], "ORIGINAL_FILE_NAME": ["a"]}[field]
    cursors = NO_CURSORS + [base64.b64encode(text.encode()).decode() for text in NO_LISTS]
    cursors += [forged(*parts) for parts in CURSORS_OF_OTHERS[field]]
    cursors += [base64.b64encode(orjson.dumps([field, *value, key])).decode() for key in KEYS_THAT_CANNOT_BE]
    cursors.append(forged(field, *value, 1, 1))
    good = forged(field, *value, 1)
    page(library.server, IMAGES, after=good, before=good, orderBy={"field": field})
    for cursor in cursors:
        for side in ("after", "before"):
            variables = {side: cursor, "orderBy": {"field": field}}
            assert library.server.codes(IMAGES, variables) == ["BAD_USER_INPUT"], cursor


def test_cursors_of_the_wrong_type_are_refused(library: Library) -> None:
    for wrong in (1, True, ["a"], {"a": 1}):
        assert library.server.codes(IMAGES, {"after": wrong}) == ["BAD_USER_INPUT"]
