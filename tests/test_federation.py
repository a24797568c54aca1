"""What a gateway does: it reads the schema, and asks for objects by their keys."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import ObjectTypeDefinitionNode, StringValueNode, parse

from graphql_server.schema.connections import PAGE
from graphql_server.schema.cost import FIX_COST
from graphql_server.schema.query import MOST_MALFORMED
from tests.rows import Reader, global_id, put_datasets, put_images, serving, untrained_pk
from tests.servers import Server, statements_sent

ENTITIES = """query($representations: [_Any!]!) {
  _entities(representations: $representations) {
    __typename
    ... on Dataset { id pk title }
    ... on Image { id pk originalFileName dataset { pk } }
  }
}"""
KEYS = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Dataset { pk } ... on Image { pk } } }"


@dataclass(frozen=True)
class Library:
    server: Reader
    datasets: list[int]
    images: list[int]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    with serving(request.param, request, tmp_path_factory.mktemp("federation")) as server:
        datasets = [untrained_pk(server), *put_datasets(server, [f"title {number}" for number in range(60)])]
        names = [{"original_file_name": f"{number}.jpg"} for number in range(60)]
        # The images' keys are not the datasets', so that one type's rows cannot pass for the other's.
        put_images(server, datasets[1], names)
        yield Library(server, datasets, put_images(server, datasets[2], names))


def by_pk(name: str, pk: int) -> dict[str, Any]:
    return {"__typename": name, "pk": pk}


def by_id(name: str, pk: int) -> dict[str, Any]:
    return {"__typename": name, "id": global_id(f"{name}:{pk}")}


def directives_of(sdl: str) -> dict[str, list[tuple[str, ...]]]:
    """The directives of each object type and their text arguments."""
    return {
        node.name.value: [
            (
                directive.name.value,
                *(found.value.value for found in directive.arguments or () if isinstance(found.value, StringValueNode)),
            )
            for directive in node.directives or ()
        ]
        for node in parse(sdl).definitions
        if isinstance(node, ObjectTypeDefinitionNode)
    }


def test_a_gateway_reads_the_schema(library: Library) -> None:
    sdl = library.server.data("{ _service { sdl } }")["_service"]["sdl"]
    directives = directives_of(sdl)
    assert directives["Dataset"] == [("key", "id"), ("key", "pk")]
    assert directives["Image"] == [("key", "id"), ("key", "pk")]
    assert directives["User"] == [("key", "pk")]
    assert 'type User @key(fields: "pk", resolvable: false) {' in sdl
    assert directives["PageInfo"] == [("shareable",)]
    assert [name for name, found in directives.items() if found] == ["Dataset", "Image", "PageInfo", "User"]
    assert 'url: "https://specs.apollo.dev/federation/v2.' in sdl


def test_a_gateway_is_told_what_lists_and_fixes_cost(library: Library) -> None:
    sdl = library.server.data("{ _service { sdl } }")["_service"]["sdl"]
    size = (
        f'@listSize(assumedSize: {PAGE}, slicingArguments: ["first", "last"], sizedFields: ["edges", "nodes"], '
        "requireOneSlicingArgument: false)"
    )
    lists = [line.strip() for line in sdl.splitlines() if "Connection!" in line]
    assert lists == [f"): {name}Connection! {size}" for name in ("Image", "Dataset", "Image")]
    assert f"): [Node]! @listSize(assumedSize: {PAGE}, requireOneSlicingArgument: false)" in sdl
    assert f"file: Upload! @cost(weight: {FIX_COST})" in sdl


def test_a_stranger_reads_neither_the_schema_nor_an_object(server: Server) -> None:
    pk = untrained_pk(server)
    for token in (None, "a-token-that-nobody-knows"):
        server.token = token
        with statements_sent() as statements:
            for query in ("{ _service { sdl } }", "{ _service { __typename } }"):
                result = server.result(query)
                assert not result.get("data")
                assert [error["extensions"]["code"] for error in result["errors"]] == ["UNAUTHENTICATED"]
            for representations in ([by_pk("Dataset", pk)], [by_id("Dataset", pk)], [], [by_pk("Nothing", 1)]):
                result = server.result(ENTITIES, {"representations": representations})
                assert not result.get("data")
                assert [error["extensions"]["code"] for error in result["errors"]] == ["UNAUTHENTICATED"]
        assert statements == []


def test_entities_come_in_the_order_of_their_representations(library: Library) -> None:
    dataset, other, image = library.datasets[3], library.datasets[2], library.images[5]
    given = [by_pk("Image", image), by_id("Dataset", dataset), by_pk("Dataset", other), by_id("Image", image)]
    found = library.server.data(ENTITIES, {"representations": given})["_entities"]
    shown = {
        "__typename": "Image",
        "id": global_id(f"Image:{image}"),
        "pk": image,
        "originalFileName": "5.jpg",
        "dataset": {"pk": other},
    }
    assert found == [
        shown,
        {"__typename": "Dataset", "id": global_id(f"Dataset:{dataset}"), "pk": dataset, "title": "title 2"},
        {"__typename": "Dataset", "id": global_id(f"Dataset:{other}"), "pk": other, "title": "title 1"},
        shown,
    ]
    assert library.server.data(ENTITIES, {"representations": []}) == {"_entities": []}


def test_an_entity_that_is_gone_is_null(library: Library) -> None:
    dataset = library.datasets[0]
    beyond = library.images[-1] + 1
    gone = [by_pk("Image", beyond), by_id("Dataset", 999_999), by_pk("Dataset", 0), by_pk("Dataset", -1)]
    gone += [by_pk("Image", 2**31), by_pk("Image", 2**53), by_id("Image", 9_999_999_999)]
    # There is an image with this key, and no dataset.
    gone.append(by_pk("Dataset", library.images[-1]))
    found = library.server.data(KEYS, {"r": [*gone, by_pk("Dataset", dataset)]})["_entities"]
    assert found == [None] * len(gone) + [{"pk": dataset}]


MALFORMED: list[Any] = [
    1,
    True,
    1.5,
    "Dataset",
    [],
    [{"__typename": "Dataset", "pk": 1}],
    {},
    {"pk": 1},
    {"__typename": "Dataset"},
    {"__typename": "Dataset", "title": "title 1"},
    {"__typename": "Dataset", "pk": "1"},
    {"__typename": "Dataset", "pk": True},
    {"__typename": "Dataset", "pk": 1.0},
    {"__typename": "Dataset", "pk": None},
    {"__typename": "Dataset", "pk": [1]},
    {"__typename": "Dataset", "pk": {"$gt": 0}},
    {"__typename": "Dataset", "id": 1},
    {"__typename": "Dataset", "id": "1"},
    {"__typename": "Dataset", "id": "é"},
    {"__typename": "Dataset", "id": {"a": 1}},
    {"__typename": "Dataset", "id": global_id("Image:1")},
    {"__typename": "Image", "id": global_id("Dataset:1")},
    {"__typename": "Image", "id": global_id("Image:1 OR 1=1")},
    {"__typename": "Nothing", "pk": 1},
    {"__typename": "dataset", "pk": 1},
    {"__typename": "Query", "pk": 1},
    {"__typename": "_Entity", "pk": 1},
    {"__typename": "_Service", "pk": 1},
    {"__typename": "Node", "pk": 1},
    {"__typename": None, "pk": 1},
    {"__typename": ["Dataset"], "pk": 1},
    {"__typename": 1, "pk": 1},
]


def test_a_malformed_representation_is_an_error_with_its_index_and_leaves_the_others(library: Library) -> None:
    dataset, image = library.datasets[4], library.images[0]
    for malformed in MALFORMED:
        given = [by_pk("Dataset", dataset), malformed, by_id("Image", image)]
        result = library.server.result(KEYS, {"r": given})
        assert result["data"] == {"_entities": [{"pk": dataset}, None, {"pk": image}]}, malformed
        (error,) = result["errors"]
        assert error["path"] == ["_entities", 1]
        assert error["extensions"] == {"code": "BAD_USER_INPUT"}


def test_each_malformed_representation_has_its_own_error(library: Library) -> None:
    result = library.server.result(KEYS, {"r": MALFORMED})
    assert result["data"] == {"_entities": [None] * len(MALFORMED)}
    assert [error["path"] for error in result["errors"]] == [["_entities", at] for at in range(len(MALFORMED))]
    assert {error["extensions"]["code"] for error in result["errors"]} == {"BAD_USER_INPUT"}


@pytest.mark.parametrize("malformed", [1, {"__typename": "Nothing", "pk": 1}, {"__typename": "Image", "id": "1"}])
def test_many_malformed_representations_are_one_error(library: Library, malformed: Any) -> None:
    good = by_pk("Dataset", library.datasets[0])
    result = library.server.result(KEYS, {"r": [good, *[malformed] * MOST_MALFORMED]})
    assert result["data"] == {"_entities": [{"pk": good["pk"]}, *[None] * MOST_MALFORMED]}
    assert len(result["errors"]) == MOST_MALFORMED
    for number in (MOST_MALFORMED + 1, 16_000):
        with statements_sent() as statements:
            response = library.server.post(KEYS, {"r": [good, *[malformed] * number]})
        (error,) = response.json()["errors"]
        assert (error["path"], error["extensions"]["code"]) == (["_entities"], "BAD_USER_INPUT")
        assert len(response.content) < 1000
        assert statements == []


def test_null_and_missing_representations_are_refused(library: Library) -> None:
    for variables in ({}, {"r": None}, {"r": [None]}):
        assert library.server.codes(KEYS, variables) == ["BAD_USER_INPUT"]


def test_what_stands_beside_the_key_is_never_believed(library: Library) -> None:
    pk = library.datasets[1]
    beside: dict[str, Any] = {
        "title": "FORGED",
        "isUntrained": True,
        "row": [],
        "self": 1,
        "info": {},
        "url": "http://x",
        "pk_": 2,
    }
    for key in (by_pk("Dataset", pk), by_id("Dataset", pk), {**by_id("Dataset", pk), "pk": pk}):
        (found,) = library.server.data(ENTITIES, {"representations": [{**key, **beside}]})["_entities"]
        assert (found["pk"], found["title"]) == (pk, "title 0")


def test_one_variable_serves_two_aliases(library: Library) -> None:
    query = """query($r: [_Any!]!) {
      a: _entities(representations: $r) { ... on Dataset { pk } }
      b: _entities(representations: $r) { ... on Dataset { pk title } }
    }"""
    pk = library.datasets[1]
    found = library.server.data(query, {"r": [by_pk("Dataset", pk)]})
    assert found == {"a": [{"pk": pk}], "b": [{"pk": pk, "title": "title 0"}]}


def test_users_are_left_to_the_subgraph_that_knows_them(library: Library) -> None:
    result = library.server.result(KEYS, {"r": [by_pk("User", 7)]})
    assert result["data"] == {"_entities": [None]}
    assert [error["extensions"]["code"] for error in result["errors"]] == ["BAD_USER_INPUT"]


def test_representations_may_stand_in_the_document(library: Library) -> None:
    pk = library.datasets[1]
    query = f"""{{ _entities(representations: [{{__typename: "Dataset", pk: {pk}}}, {{__typename: "Dataset"}}]) {{
      ... on Dataset {{ title }}
    }} }}"""
    result = library.server.result(query)
    assert result["data"] == {"_entities": [{"title": "title 0"}, None]}
    assert [error["path"] for error in result["errors"]] == [["_entities", 1]]


def test_a_hundred_entities_of_both_types_are_two_statements(library: Library) -> None:
    given = [by_pk("Dataset", pk) for pk in library.datasets[:50]] + [by_id("Image", pk) for pk in library.images[:50]]
    with statements_sent() as statements:
        found = library.server.data(KEYS, {"r": given})["_entities"]
    assert [entity["pk"] for entity in found] == library.datasets[:50] + library.images[:50]
    assert len(statements) == 2


def test_equal_keys_are_loaded_once(library: Library) -> None:
    one, other = library.datasets[1:3]
    given = [by_pk("Dataset", one), by_id("Dataset", one), by_pk("Dataset", other), by_pk("Dataset", one)] * 25
    with statements_sent() as statements:
        found = library.server.data(KEYS, {"r": given})["_entities"]
    assert found == [{"pk": one}, {"pk": one}, {"pk": other}, {"pk": one}] * 25
    (statement,) = statements
    assert statement.count("?") == 2


def test_malformed_representations_cost_no_statement(library: Library) -> None:
    with statements_sent() as statements:
        library.server.result(KEYS, {"r": MALFORMED})
    assert statements == []


def test_an_entitys_lists_are_joined_as_everywhere(library: Library) -> None:
    query = """query($r: [_Any!]!) { _entities(representations: $r) {
      ... on Dataset { pk images(first: 2) { totalCount nodes { pk } } }
      ... on Image { dataset { pk } }
    } }"""
    given = [by_pk("Dataset", pk) for pk in library.datasets] + [by_pk("Image", pk) for pk in library.images]
    with statements_sent() as statements:
        found = library.server.data(query, {"r": given})["_entities"]
    assert len(statements) <= 4
    assert [entity["images"]["totalCount"] for entity in found[:4]] == [0, 60, 60, 0]
    assert [node["pk"] for node in found[2]["images"]["nodes"]] == library.images[:2]
    assert {entity["dataset"]["pk"] for entity in found[len(library.datasets) :]} == {library.datasets[2]}
