"""What can be read one by one, and how few statements reading takes."""

import base64
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.rows import Reader, global_id, put_datasets, put_images, serving, untrained_pk
from tests.servers import Server, statements_sent

NODES = """query($ids: [ID!]!) {
  nodes(ids: $ids) { __typename id ... on Dataset { pk title } ... on Image { pk originalFileName } }
}"""
NODE = "query($id: ID!) { node(id: $id) { __typename id ... on Dataset { pk } ... on Image { pk } } }"
NESTED = "query($count: Int!) { datasets(first: $count) { nodes { pk images(first: 10) { nodes { pk } } } } }"


@dataclass(frozen=True)
class Library:
    """120 datasets with 12 images each, the untrained one the first."""

    server: Reader
    datasets: list[int]
    images: dict[int, list[int]]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    with serving(request.param, request, tmp_path_factory.mktemp("queries")) as server:
        datasets = [untrained_pk(server), *put_datasets(server, [f"title {number}" for number in range(119)])]
        yield Library(server, datasets, fill(server, datasets, 12))


def fill(server: Server, datasets: list[int], count: int) -> dict[int, list[int]]:
    """Put `count` images into each dataset, all by one statement; their keys go round the datasets."""
    pks = put_images(server, 0, [{"dataset_info_pk": pk} for pk in datasets * count])
    return {pk: pks[at :: len(datasets)] for at, pk in enumerate(datasets)}


def counted(server: Server, query: str, **variables: Any) -> tuple[dict[str, Any], int]:
    """The data, and how many statements it took."""
    with statements_sent() as statements:
        data = server.data(query, variables)
    return data, len(statements)


def test_a_dataset_and_an_image_are_found_by_their_keys(library: Library) -> None:
    dataset = library.datasets[5]
    image = library.images[dataset][3]
    assert library.server.data("query($pk: Int!) { dataset(pk: $pk) { pk title isUntrained } }", {"pk": dataset}) == {
        "dataset": {"pk": dataset, "title": "title 4", "isUntrained": False}
    }
    found = library.server.data("query($pk: Int!) { image(pk: $pk) { pk dataset { pk } } }", {"pk": image})
    assert found == {"image": {"pk": image, "dataset": {"pk": dataset}}}


def test_a_dataset_is_not_read_before_images_that_prove_it_and_is_null_where_there_is_none(library: Library) -> None:
    query = "query($pk: Int!) { dataset(pk: $pk) { images(first: 2) { nodes { pk } } } }"
    dataset = library.datasets[5]
    data, statements = counted(library.server, query, pk=dataset)
    assert [node["pk"] for node in data["dataset"]["images"]["nodes"]] == library.images[dataset][:2]
    assert statements == 1
    assert library.server.data(query, {"pk": 999_999}) == {"dataset": None}


def test_a_key_that_nothing_has_gives_null(library: Library) -> None:
    for pk in (0, -1, -(2**31), 2**31 - 1, 999_999):
        query = "query($pk: Int!) { dataset(pk: $pk) { pk } image(pk: $pk) { pk } }"
        assert library.server.data(query, {"pk": pk}) == {"dataset": None, "image": None}


def test_a_key_that_is_no_number_is_refused(library: Library) -> None:
    keys: list[Any] = [2**31, "1", True, 1.5, None, [1], {}]
    for pk in keys:
        for name in ("dataset", "image"):
            query = f"query($pk: Int!) {{ {name}(pk: $pk) {{ pk }} }}"
            assert library.server.codes(query, {"pk": pk}) == ["BAD_USER_INPUT"], pk


@pytest.mark.parametrize("name", ["include", "skip"])
def test_a_condition_that_is_no_boolean_is_refused_and_a_default_counts(library: Library, name: str) -> None:
    query = f"query($if: Boolean!) {{ untrained {{ title isUntrained @{name}(if: $if) }} }}"
    sent: list[dict[str, Any]] = [{}, {"if": None}, {"if": "true"}, {"if": 1}, {"if": []}]
    assert [library.server.codes(query, variables) for variables in sent] == [["BAD_USER_INPUT"]] * len(sent)
    query = query.replace("!", " = true")
    for variables, included in (({}, True), ({"if": True}, True), ({"if": False}, False)):
        found = library.server.data(query, variables)["untrained"]
        assert ("isUntrained" in found) == (included == (name == "include"))


def test_the_untrained_dataset_is_the_open_one(library: Library) -> None:
    assert library.server.data("{ untrained { pk title isUntrained sealedAt } }") == {
        "untrained": {"pk": library.datasets[0], "title": "untrained", "isUntrained": True, "sealedAt": None}
    }


def test_every_object_is_fetched_again_by_its_id(library: Library) -> None:
    query = "{ datasets(first: 3) { nodes { __typename id pk images(first: 2) { nodes { __typename id pk } } } } }"
    datasets = library.server.data(query)["datasets"]["nodes"]
    images = [image for dataset in datasets for image in dataset["images"]["nodes"]]
    objects = [{key: dataset[key] for key in ("__typename", "id", "pk")} for dataset in datasets] + images
    assert len({found["id"] for found in objects}) == 9
    for expected in objects:
        assert library.server.data(NODE, {"id": expected["id"]}) == {"node": expected}


def test_nodes_keep_the_order_of_their_ids(library: Library) -> None:
    dataset, image = library.datasets[7], library.images[library.datasets[7]][0]
    given = [f"Image:{image}", f"Dataset:{dataset}", "Image:999999", f"Dataset:{image + 10_000}", f"Image:{image}"]
    found = library.server.data(NODES, {"ids": [global_id(text) for text in given]})["nodes"]
    assert [node and (node["__typename"], node["pk"], node["id"]) for node in found] == [
        ("Image", image, global_id(given[0])),
        ("Dataset", dataset, global_id(given[1])),
        None,
        None,
        ("Image", image, global_id(given[0])),
    ]
    assert library.server.data(NODES, {"ids": []}) == {"nodes": []}


def test_an_id_of_nothing_that_is_gives_null(library: Library) -> None:
    for text in ("Image:999999", "Dataset:0", "Image:2147483648", "Dataset:9999999999"):
        assert library.server.data(NODE, {"id": global_id(text)}) == {"node": None}, text


def test_an_id_that_is_none_of_ours_is_refused(library: Library) -> None:
    texts = ("User:1", "dataset:1", "Query:1", "Node:1", "Dataset", "Dataset:", "Dataset:-1", "Dataset:x", "Image:1:1")
    texts += ("Image: 1", "Image:1 ", "Image:１", "Image:1.0", "Image:" + "9" * 11, ":1", "Dataset:1' OR '1'='1")  # noqa: RUF001 - a digit that is not ASCII
    wrong = ["", "1", "x", "Dataset:1", "///", "é", "\x00", "A" * 10_000, *map(global_id, texts)]
    wrong.append(base64.b64encode(b"\xff\xfe:1").decode())
    good = global_id(f"Dataset:{library.datasets[0]}")
    for text in wrong:
        assert library.server.codes(NODE, {"id": text}) == ["BAD_USER_INPUT"], text
        assert library.server.codes(NODES, {"ids": [good, text]}) == ["BAD_USER_INPUT"], text


# How many statements it takes.


@pytest.mark.parametrize("count", [3, 120])
def test_nested_lists_take_the_same_statements_however_many_parents(library: Library, count: int) -> None:
    data, statements = counted(library.server, NESTED, count=count)
    assert statements == 2
    assert data["datasets"]["nodes"] == [
        {"pk": pk, "images": {"nodes": [{"pk": image} for image in library.images[pk][:10]]}}
        for pk in library.datasets[:count]
    ]
    everything = NESTED.replace("{ nodes { pk } }", "{ totalCount nodes { pk } pageInfo { hasNextPage } }")
    data, statements = counted(library.server, everything, count=count)
    assert statements == 3
    assert data["datasets"]["nodes"][-1]["images"]["totalCount"] == 12


def test_a_thousand_parents_take_no_more_statements(server: Server) -> None:
    datasets = put_datasets(server, [f"title {number}" for number in range(999)])
    images = fill(server, datasets, 2)
    query = NESTED.replace("first: 10", "first: 1, orderBy: {field: CONFIDENCE, direction: DESC}")
    data, statements = counted(server, query, count=1000)
    assert statements == 2
    nodes = data["datasets"]["nodes"]
    assert len(nodes) == 1000
    assert {node["pk"]: [image["pk"] for image in node["images"]["nodes"]] for node in nodes[1:]} == {
        pk: own[-1:] for pk, own in images.items()
    }


def test_pages_of_a_thousand_parents_with_cursor_and_filter_are_read_by_statements_that_are_not_too_long(
    server: Server,
) -> None:
    """One statement for all of them took both engines seconds; on SQLite nobody else was answered meanwhile."""
    datasets = put_datasets(server, [f"title {number}" for number in range(999)])
    images = fill(server, datasets, 2)
    cursor = base64.b64encode(f'["CONFIDENCE", 0.5, {images[datasets[499]][0]}]'.encode()).decode()
    query = """query($count: Int!, $after: String!) { datasets(first: $count) { nodes { pk images(
        first: 1, after: $after, orderBy: {field: CONFIDENCE}, filter: {
            exifDegree: [0, 90], modelDegree: [0], userFixDegree: [0], modelWasWrong: false,
            confidence: {from: 0, to: 1}, originalFileName: {contains: "photo"}
        }) { nodes { pk } pageInfo { hasNextPage hasPreviousPage } } } } }"""
    with statements_sent() as statements:
        nodes = server.data(query, {"count": 1000, "after": cursor})["datasets"]["nodes"]
    assert max(map(len, statements)) < 200_000
    for place, (dataset, own) in enumerate(images.items()):
        page = {
            "nodes": [{"pk": own[place < 500]}],
            "pageInfo": {"hasNextPage": place >= 500, "hasPreviousPage": place < 500},
        }
        assert nodes[place + 1] == {"pk": dataset, "images": page}


def test_a_total_costs_a_statement_only_where_it_is_selected(library: Library) -> None:
    assert counted(library.server, "{ images { nodes { pk } pageInfo { hasNextPage } } }")[1] == 1
    data, statements = counted(library.server, "{ images { nodes { pk } totalCount } }")
    assert (data["images"]["totalCount"], statements) == (1440, 2)
    assert counted(library.server, "{ datasets { nodes { pk } } }")[1] == 1
    assert counted(library.server, "{ datasets { edges { cursor } totalCount } }")[1] == 2


def test_the_other_side_of_a_cursor_is_looked_at_only_where_it_is_selected(library: Library) -> None:
    info = library.server.data("{ images(first: 10) { pageInfo { startCursor endCursor } } }")["images"]["pageInfo"]
    for arguments, free, paid in (
        (f'first: 5, after: "{info["endCursor"]}"', "hasNextPage", "hasPreviousPage"),
        (f'last: 5, before: "{info["endCursor"]}"', "hasPreviousPage", "hasNextPage"),
    ):
        query = f"{{ images({arguments}) {{ nodes {{ pk }} pageInfo {{ startCursor endCursor %s }} }} }}"
        assert counted(library.server, query % free)[1] == 1
        data, statements = counted(library.server, query % paid)
        assert (data["images"]["pageInfo"][paid], statements) == (True, 2)
    assert counted(library.server, "{ images { pageInfo { hasPreviousPage } } }")[1] == 1
    nested = NESTED.replace("first: 10", f'after: "{info["endCursor"]}"')
    nested = nested.replace("nodes { pk } }", "pageInfo { hasPreviousPage } }")
    assert counted(library.server, nested, count=120)[1] == 3


def test_pages_of_one_order_are_one_statement_and_of_two_are_two(library: Library) -> None:
    query = """{ datasets(first: 120) { nodes {
        pk one: images(first: 2) { nodes { pk } } two: images(last: 3) { nodes { pk } } %s
    } } }"""
    data, statements = counted(library.server, query % "")
    assert statements == 2
    for node in data["datasets"]["nodes"]:
        own = [{"pk": pk} for pk in library.images[node["pk"]]]
        assert (node["one"]["nodes"], node["two"]["nodes"]) == (own[:2], own[-3:])
    other = "three: images(first: 1, orderBy: {direction: DESC}) { nodes { pk } }"
    data, statements = counted(library.server, query % other)
    assert statements == 3
    for node in data["datasets"]["nodes"]:
        assert node["three"]["nodes"] == [{"pk": library.images[node["pk"]][-1]}]


def test_the_datasets_of_a_hundred_images_are_one_statement(library: Library) -> None:
    data, statements = counted(library.server, "{ images(first: 100) { nodes { pk dataset { pk title } } } }")
    assert statements == 2
    nodes = data["images"]["nodes"]
    assert len({node["dataset"]["pk"] for node in nodes}) == 100
    assert all(node["pk"] in library.images[node["dataset"]["pk"]] for node in nodes)


def test_nodes_of_both_types_are_two_statements(library: Library) -> None:
    ids = [global_id(f"Dataset:{pk}") for pk in library.datasets[:50]]
    ids += [global_id(f"Image:{pk}") for pk in library.images[library.datasets[1]]]
    data, statements = counted(library.server, NODES, ids=ids * 2)
    assert statements == 2
    assert [node["id"] for node in data["nodes"]] == ids * 2


def test_objects_asked_for_by_several_root_fields_are_one_statement(library: Library) -> None:
    one, other = library.datasets[1:3]
    query = f"{{ a: dataset(pk: {one}) {{ pk }} b: dataset(pk: {other}) {{ pk }} c: dataset(pk: {one}) {{ title }} }}"
    data, statements = counted(library.server, query)
    assert statements == 1
    assert [data["a"]["pk"], data["b"]["pk"], data["c"]["title"]] == [one, other, "title 0"]


def test_what_a_wrong_field_ends_keeps_nobody_waiting_who_asks_for_the_same_later(library: Library) -> None:
    pk, image = library.datasets[1], library.images[library.datasets[1]][0]
    result = library.server.result(
        f"""{{
          long: images(first: 1000) {{ nodes {{ pk url width height originalFileName confidence }} }}
          late: image(pk: {image}) {{
            dataset {{ images(first: 3, orderBy: {{field: CONFIDENCE}}) {{ nodes {{ pk }} }} }}
          }}
          null: dataset(pk: {pk}) {{
            wrong: images(first: 5000) {{ totalCount }} right: images(first: 3) {{ nodes {{ pk }} }}
          }}
        }}"""
    )
    assert [(error["path"], error["extensions"]["code"]) for error in result["errors"]] == [
        (["null", "wrong"], "BAD_USER_INPUT")
    ]
    assert result["data"]["null"] is None
    assert len(result["data"]["long"]["nodes"]) == 1000
    assert len(result["data"]["late"]["dataset"]["images"]["nodes"]) == 3


def test_what_is_not_selected_is_not_asked_of_the_database(library: Library) -> None:
    assert counted(library.server, "{ __typename }")[1] == 0
    assert counted(library.server, "{ untrained { pk } }")[1] == 1
    assert counted(library.server, "query($pk: Int!) { image(pk: $pk) { pk url } }", pk=1)[1] == 1
