"""Lists that are narrowed: each filter by itself, together with others, and with texts that look like SQL."""

import itertools
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.photos import photo
from tests.rows import Reader, put, put_images, serving, untrained_pk
from tests.servers import Server

IMAGES = "query($filter: ImageFilter) { images(first: 1000, filter: $filter) { totalCount nodes { pk } } }"
NESTED = """query($pk: Int!, $filter: ImageFilter) {
  dataset(pk: $pk) { images(first: 1000, filter: $filter) { totalCount nodes { pk } } }
}"""
DATASETS = "query($filter: DatasetFilter) { datasets(first: 1000, filter: $filter) { totalCount nodes { pk } } }"
COUNT = "query($filter: ImageFilter) { images(first: 0, filter: $filter) { totalCount } }"

INJECTIONS = (
    "' OR '1'='1",
    "' OR 1=1 -- ",
    '" OR ""="',
    "'; DROP TABLE image_info; --",
    "\\' OR 1=1 #",
    "\\",
    "\\\\",
    "?",
    "%s",
    "%(pk)s",
    "{}",
    "%",
    "_",
    "!",
    "!!",
    "!%",
    "!_",
    "a!%b_c",
    "NULL",
    "\x00",
    "\x1a",
    "\n",
    "\t",
)
LONGEST = "사" * 255
# What is NULL is shown as "", and found as that.
NAMES = (
    None,
    "",
    "photo.jpg",
    "Photo.JPG",
    "photo.jpg ",
    " photo.jpg",
    "photo_jpg",
    "사진 1.jpg",
    LONGEST,
    "100%.png",
    *INJECTIONS,
)
TITLES = (
    None,
    "",
    "Lunch",
    "lunch",
    "Lunch ",
    "100% rice",
    "100 rice",
    "a_b",
    "aXb",
    "wow!",
    "wow",
    "점심",
    *INJECTIONS,
)
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
BEGIN, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
MOMENTS = (None, NOON - MOMENT, NOON, NOON + MOMENT, NOON + timedelta(days=40))

Row = dict[str, Any]
Keeps = Callable[[Row], bool]


@dataclass(frozen=True)
class Library:
    server: Reader
    images: list[Row]
    datasets: list[Row]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    with serving(request.param, request, tmp_path_factory.mktemp("filters")) as server:
        first = untrained_pk(server)
        titled = put(server, "dataset_info", [{"title": title} for title in TITLES])
        rows = [{"pk": pk, "title": title, "untrained": False} for pk, title in zip(titled, TITLES, strict=True)]
        images = [row for pk in (titled[2], first) for row in put_some(server, pk)]
        yield Library(server, images, [{"pk": first, "title": "untrained", "untrained": True}, *rows])


def put_some(server: Server, dataset: int) -> list[Row]:
    """Images that differ in every column; each value of a column comes with many of the others."""
    degrees = itertools.cycle(itertools.product((None, 0, 90, 180, 270, 360, 45, -90), repeat=2))
    fixes = itertools.cycle((0, 90, 360, None, 180, 270, -90))
    confidences = itertools.cycle((None, 0.0, 0.3, 0.1 + 0.2, 0.5, 0.9, 1.0, 1e38, -1.0))
    moments = itertools.cycle(MOMENTS)
    given: list[Row] = []
    for name in (*NAMES, *NAMES):
        exif, model = next(degrees)
        given.append(
            {
                "original_file_name": name,
                "exif_degree": exif,
                "model_degree": model,
                "user_fix_degree": next(fixes),
                "confidence": next(confidences),
                "created_at": next(moments),
            }
        )
    pks = put_images(server, dataset, given)
    return [{"pk": pk, "dataset": dataset, **row} for pk, row in zip(pks, given, strict=True)]


def among(column: str, *values: int | str | None) -> Keeps:
    return lambda row: row[column] in values


def between(column: str, least: Any, most: Any) -> Keeps:
    return lambda row: row[column] is not None and least <= row[column] <= most


def containing(column: str, part: str) -> Keeps:
    return lambda row: part.lower() in (row[column] or "").lower()


LARGEST = 1e308
FILTERS: list[tuple[dict[str, Any], Keeps]] = [
    ({"exifDegree": [90]}, among("exif_degree", 90)),
    ({"exifDegree": [0, 180, 0]}, among("exif_degree", 0, 180)),
    ({"modelDegree": [360]}, among("model_degree", 360)),
    ({"modelDegree": [0, 90, 180, 270, 360]}, among("model_degree", 0, 90, 180, 270, 360)),
    ({"userFixDegree": [0]}, among("user_fix_degree", 0)),
    ({"userFixDegree": [180, 270]}, among("user_fix_degree", 180, 270)),
    ({"modelWasWrong": True}, lambda row: row["user_fix_degree"] not in (None, 0, 360)),
    ({"modelWasWrong": False}, lambda row: row["user_fix_degree"] in (0, 360)),
    ({"confidence": {"from": 0.3}}, between("confidence", 0.3, LARGEST)),
    ({"confidence": {"from": 0.1 + 0.2}}, between("confidence", 0.1 + 0.2, LARGEST)),
    ({"confidence": {"to": 0.5}}, between("confidence", -LARGEST, 0.5)),
    ({"confidence": {"from": 0.5, "to": 0.5}}, between("confidence", 0.5, 0.5)),
    ({"confidence": {"from": 0, "to": 1}}, between("confidence", 0, 1)),
    ({"originalFileName": {"equals": "photo.jpg"}}, among("original_file_name", "photo.jpg")),
    ({"originalFileName": {"equals": "photo.jpg "}}, among("original_file_name", "photo.jpg ")),
    ({"originalFileName": {"equals": ""}}, among("original_file_name", "", None)),
    ({"originalFileName": {"contains": "PHOTO"}}, containing("original_file_name", "photo")),
    ({"originalFileName": {"contains": ".jpg"}}, containing("original_file_name", ".jpg")),
    ({"originalFileName": {"contains": "사진"}}, containing("original_file_name", "사진")),
    (
        {"originalFileName": {"contains": "photo", "equals": "Photo.JPG"}},
        among("original_file_name", "Photo.JPG"),
    ),
    ({"createdAt": {"from": "2026-11-23T12:00:00Z"}}, between("created_at", NOON, END)),
    ({"createdAt": {"from": "2026-11-23T21:00:00+09:00"}}, between("created_at", NOON, END)),
    ({"createdAt": {"from": "2026-11-23T12:00:00"}}, between("created_at", NOON, END)),
    ({"createdAt": {"from": "2026-11-23T12:00:00.000001Z"}}, between("created_at", NOON + MOMENT, END)),
    ({"createdAt": {"before": "2026-11-23T12:00:00Z"}}, between("created_at", BEGIN, NOON - MOMENT)),
    ({"createdAt": {"before": "2026-11-23T02:30:00-09:30"}}, between("created_at", BEGIN, NOON - MOMENT)),
    (
        {"createdAt": {"from": "2026-11-23T12:00:00Z", "before": "2026-11-23T12:00:00.000001Z"}},
        between("created_at", NOON, NOON),
    ),
    (
        {"createdAt": {"from": "0001-01-01T00:00:00Z", "before": "9999-12-31T23:59:59Z"}},
        between("created_at", BEGIN, END),
    ),
    *(({"originalFileName": {"equals": text}}, among("original_file_name", text)) for text in (LONGEST, *INJECTIONS)),
    *(
        ({"originalFileName": {"contains": text}}, containing("original_file_name", text))
        for text in (LONGEST, *INJECTIONS)
    ),
]
NOTHING: list[dict[str, Any]] = [
    {"exifDegree": []},
    {"modelDegree": []},
    {"userFixDegree": []},
    {"confidence": {"from": 0.6, "to": 0.4}},
    {"confidence": {"from": 1e300}},
    {"createdAt": {"from": "2026-11-23T12:00:00Z", "before": "2026-11-23T12:00:00Z"}},
    {"originalFileName": {"equals": "photo.jp"}},
    {"originalFileName": {"equals": "photo.jpg  "}},
    {"originalFileName": {"contains": "photo%jpg"}},
    {"originalFileName": {"contains": "x" * 60_000}},
    {"originalFileName": {"equals": "x" * 60_000}},
    {"datasetPk": 0},
    {"datasetPk": -1},
    {"datasetPk": 2**31 - 1},
    {"exifDegree": [90], "modelDegree": []},
]
EVERYTHING: list[dict[str, Any] | None] = [
    None,
    {},
    {"exifDegree": None, "modelWasWrong": None, "confidence": None, "originalFileName": None, "createdAt": None},
    {"confidence": {}, "originalFileName": {}, "createdAt": {}, "datasetPk": None},
    {"confidence": {"from": None, "to": None}, "createdAt": {"from": None, "before": None}},
    {"originalFileName": {"contains": ""}},
]


def found(server: Server, query: str, **variables: Any) -> list[int]:
    """The keys of the list, whose count must be theirs."""
    data = server.data(query, variables)
    connection = next(iter((data.get("dataset") or data).values()))
    pks = [node["pk"] for node in connection["nodes"]]
    assert connection["totalCount"] == len(pks)
    return pks


def kept(rows: list[Row], keeps: Keeps) -> list[int]:
    return [row["pk"] for row in rows if keeps(row)]


def test_each_filter_keeps_the_images_that_meet_it(library: Library) -> None:
    for narrowed, keeps in FILTERS:
        expected = kept(library.images, keeps)
        assert 0 < len(expected) < len(library.images)
        assert found(library.server, IMAGES, filter=narrowed) == expected, narrowed


def test_each_filter_narrows_a_datasets_images_alike(library: Library) -> None:
    dataset = library.images[0]["dataset"]
    own = [row for row in library.images if row["dataset"] == dataset]
    for narrowed, keeps in FILTERS:
        assert found(library.server, NESTED, pk=dataset, filter=narrowed) == kept(own, keeps), narrowed


def test_a_filter_that_nothing_meets_gives_an_empty_list(library: Library) -> None:
    for narrowed in NOTHING:
        assert found(library.server, IMAGES, filter=narrowed) == [], narrowed
        assert found(library.server, NESTED, pk=library.images[0]["dataset"], filter=narrowed) == [], narrowed


def test_a_filter_that_says_nothing_keeps_everything(library: Library) -> None:
    for narrowed in EVERYTHING:
        assert found(library.server, IMAGES, filter=narrowed) == [row["pk"] for row in library.images], narrowed


def test_filters_together_keep_what_meets_them_all(library: Library) -> None:
    rng = random.Random(23)
    sizes: list[int] = []
    for _ in range(60):
        chosen = {next(iter(narrowed)): (narrowed, keeps) for narrowed, keeps in rng.sample(FILTERS, 3)}
        together = {name: value for narrowed, _ in chosen.values() for name, value in narrowed.items()}
        expected = kept(library.images, lambda row, all_of=chosen: all(keeps(row) for _, keeps in all_of.values()))
        assert found(library.server, IMAGES, filter=together) == expected, together
        sizes.append(len(expected))
    assert sum(size > 0 for size in sizes) > 10


def test_images_of_one_dataset_are_found_by_its_key(library: Library) -> None:
    one, other = (row["pk"] for row in library.datasets[:1] + library.datasets[3:4])
    own = [row for row in library.images if row["dataset"] == one]
    assert found(library.server, IMAGES, filter={"datasetPk": one}) == [row["pk"] for row in own]
    wrong = {"datasetPk": one, "modelWasWrong": True}
    assert found(library.server, IMAGES, filter=wrong) == kept(own, FILTERS[6][1])
    assert found(library.server, NESTED, pk=one, filter={"datasetPk": one}) == [row["pk"] for row in own]
    assert found(library.server, NESTED, pk=one, filter={"datasetPk": other}) == []


def test_counts_of_all_images_and_of_one_datasets_stand_beside_each_other(library: Library) -> None:
    one, other = library.images[0]["dataset"], library.images[-1]["dataset"]
    counted = library.server.data(
        "query($one: Int!, $other: Int!) { all: images { totalCount } one: images(filter: {datasetPk: $one})"
        " { totalCount } other: images(filter: {datasetPk: $other}) { totalCount } }",
        {"one": one, "other": other},
    )
    of = [row["dataset"] for row in library.images]
    assert [counted[name]["totalCount"] for name in ("all", "one", "other")] == [
        len(of),
        of.count(one),
        of.count(other),
    ]


def test_the_time_of_a_saved_image_finds_it(server: Server) -> None:
    image = server.save(photo())
    saved = datetime.fromisoformat(image["createdAt"])
    assert abs(saved - datetime.now(UTC)) < timedelta(minutes=1)
    there = saved.astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat()
    later = (saved + MOMENT).isoformat()
    for narrowed, count in (
        ({"from": image["createdAt"]}, 1),
        ({"from": there}, 1),
        ({"from": later}, 0),
        ({"before": image["createdAt"]}, 0),
        ({"before": there}, 0),
        ({"before": later}, 1),
    ):
        assert server.data(COUNT, {"filter": {"createdAt": narrowed}}) == {"images": {"totalCount": count}}, narrowed


def test_datasets_are_found_by_title(library: Library) -> None:
    for title in ("Lunch", "lunch", "Lunch ", "untrained", "점심", "a_b", *INJECTIONS):
        expected = kept(library.datasets, among("title", title))
        assert found(library.server, DATASETS, filter={"title": {"equals": title}}) == expected, title
        assert expected
    untitled = kept(library.datasets, among("title", "", None))
    assert found(library.server, DATASETS, filter={"title": {"equals": ""}}) == untitled
    for part in ("LUN", "lunch ", "100%", "a_", "!", "심", "", "TRAIN", *INJECTIONS):
        expected = kept(library.datasets, containing("title", part))
        assert found(library.server, DATASETS, filter={"title": {"contains": part}}) == expected, part
        assert expected
    for nothing in ({"equals": "LUNCH"}, {"contains": "x" * 60_000}, {"equals": "Lunch", "contains": "dinner"}):
        assert found(library.server, DATASETS, filter={"title": nothing}) == []


def test_datasets_are_found_by_state(library: Library) -> None:
    (untrained, *titled) = (row["pk"] for row in library.datasets)
    assert found(library.server, DATASETS, filter={"isUntrained": True}) == [untrained]
    assert found(library.server, DATASETS, filter={"isUntrained": False}) == titled
    assert found(library.server, DATASETS, filter={"isUntrained": None}) == [untrained, *titled]
    assert found(library.server, DATASETS, filter={"isUntrained": False, "title": {"equals": "untrained"}}) == []


def test_texts_that_look_like_sql_change_nothing(library: Library) -> None:
    for text in INJECTIONS:
        for variables in (
            {"filter": {"originalFileName": {"equals": text, "contains": text}}},
            {"filter": {"exifDegree": [text]}},
            {"filter": {"datasetPk": text}},
        ):
            library.server.result(IMAGES, variables)
    assert len(found(library.server, IMAGES)) == len(library.images)
    assert len(found(library.server, DATASETS)) == len(library.datasets)


@pytest.mark.parametrize(
    "wrong",
    [
        {"exifDegree": [45]},
        {"modelDegree": [True]},
        {"userFixDegree": ["90"]},
        {"userFixDegree": [90.0]},
        {"exifDegree": [None]},
        {"confidence": {"from": "high"}},
        {"confidence": {"from": True}},
        {"modelWasWrong": "no"},
        {"createdAt": {"from": "yesterday"}},
        {"createdAt": {"from": 1764000000}},
        {"createdAt": {"from": "0001-01-01T00:00:00+23:59"}},
        {"createdAt": {"before": "9999-12-31T23:59:59-10:00"}},
        {"originalFileName": "photo.jpg"},
        {"originalFileName": {"startsWith": "photo"}},
        {"datasetPk": 2**31},
        {"datasetPk": "1"},
        {"unknown": 1},
    ],
)
def test_a_filter_that_cannot_be_is_refused(library: Library, wrong: dict[str, Any]) -> None:
    assert library.server.codes(IMAGES, {"filter": wrong}) == ["BAD_USER_INPUT"]


def test_a_confidence_beyond_all_numbers_is_refused(library: Library) -> None:
    for number in ("1e999", "-1e999"):
        query = f"{{ images(filter: {{confidence: {{from: {number}}}}}) {{ totalCount }} }}"
        assert library.server.codes(query) == ["BAD_USER_INPUT"]
