"""What an operation may cost: too many objects are refused, and as many as may be take few statements."""

from collections.abc import Generator
from typing import Any

import pytest
from graphql import get_introspection_query

from tests.rows import put_datasets, put_images, serving, sql, untrained_pk
from tests.servers import Server, statements_sent

IMAGES = "images(first: 1000) { totalCount }"
NESTED = f"datasets(first: 100) {{ nodes {{ {IMAGES} }} }}"
BY_SIZE = f"datasets(first: $n) {{ nodes {{ {IMAGES} }} }}"
OF_KEYS = f"{{ ... on Dataset {{ {IMAGES} }} }}"
COSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nested": (f"{{ {NESTED} }}", {}),
    "nested by default": ("{ datasets { nodes { images { nodes { dataset { images { totalCount } } } } } } }", {}),
    "from the end": (f"{{ {NESTED.replace('first', 'last')} }}", {}),
    "edges": (f"{{ datasets(first: 100) {{ edges {{ node {{ {IMAGES} }} }} }} }}", {}),
    "in fragments": (
        f"{{ ...A }} fragment A on Query {{ datasets(first: 99) {{ nodes {{ ...B }} }} }} fragment B on Node {OF_KEYS}",
        {},
    ),
    "by alias": (
        f"{{ {' '.join(f'a{n}: images(first: 1000) {{ nodes {{ dataset {{ pk }} }} }}' for n in range(11))} }}",
        {},
    ),
    "a variable": (f"query($n: Int) {{ {BY_SIZE} }}", {"n": 100}),
    "a variable with a fraction of 0": (f"query($n: Int) {{ {BY_SIZE} }}", {"n": 100.0}),
    "a variable's default": (f"query($n: Int = 100) {{ {BY_SIZE} }}", {}),
    "a size below 0 beside it": (f"{{ a: images(first: -1000000) {{ totalCount }} {NESTED} }}", {}),
    "a variable below 0 beside it": (
        f"query($n: Int) {{ a: images(first: $n) {{ totalCount }} {NESTED} }}",
        {"n": -(10**6)},
    ),
    "ids": (f"query($i: [ID!]!) {{ nodes(ids: $i) {OF_KEYS} }}", {"i": ["a"] * 21}),
    "ids by default": (f"query($i: [ID!]! = [{'1 ' * 21}]) {{ nodes(ids: $i) {OF_KEYS} }}", {}),
    "ids in the document": (f"{{ nodes(ids: [{'1 ' * 21}]) {OF_KEYS} }}", {}),
    "representations": (
        f"query($r: [_Any!]!) {{ _entities(representations: $r) {OF_KEYS} }}",
        {"r": [{"__typename": "Dataset", "pk": 1}] * 21},
    ),
    "fixes": ("mutation($f: [SaveFixInput!]!) { saveFixes(inputs: $f) { image { pk } } }", {"f": [{}] * 201}),
}


@pytest.mark.parametrize("kind", COSTS)
def test_what_would_give_too_many_objects_is_refused_before_any_statement(production: Server, kind: str) -> None:
    with statements_sent() as statements:
        (error,) = production.result(*COSTS[kind])["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    assert error["message"] == "The operation has more than 20000 objects to give (QUERY_COST)."
    assert statements == []


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """10,000 images on both engines, in some more datasets than are on one page."""
    with serving(request.param, request, tmp_path_factory.mktemp("full")) as server:
        put_datasets(server, [f"set {number}" for number in range(60)])
        pk = untrained_pk(server)
        for begin in range(0, 10_000, 2500):
            put_images(server, pk, [{"uuid_file_name": f"{number}.jpg"} for number in range(begin, begin + 2500)])
        yield server


def test_every_list_of_the_schema_counts(full: Server) -> None:
    """A field added tomorrow that takes a page or a list must be known to the cost as well."""
    query = "{ __schema { types { name fields { name args { name type { ...T ofType { ...T } } } } } } }"
    taking: set[str] = set()
    for named in full.data(query + " fragment T on __Type { kind }")["__schema"]["types"]:
        for field in () if named["name"].startswith("__") else named["fields"] or ():
            taking |= {f"{field['name']}({argument['name']})" for argument in field["args"] if is_list(argument)}
    assert taking == {
        "datasets(first)", "images(first)", "nodes(ids)", "_entities(representations)", "saveFixes(inputs)"
    }  # fmt: skip


def is_list(argument: dict[str, Any]) -> bool:
    kinds = {argument["type"]["kind"], (argument["type"]["ofType"] or {"kind": None})["kind"]}
    return argument["name"] == "first" or "LIST" in kinds


ENTITIES = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Image { pk dataset { title } } } }"


def representations(pks: list[int]) -> dict[str, Any]:
    return {"r": [{"__typename": "Image", "pk": pk} for pk in pks]}


def test_10000_representations_are_given_by_a_statement_for_each_thousand_in_their_order(full: Server) -> None:
    pks = [row[0] for row in sql(full, "SELECT pk FROM image_info ORDER BY pk DESC")]
    assert len(pks) == 10_000
    query = ENTITIES.replace(" dataset { title }", "")
    with statements_sent() as statements:
        given = full.data(query, representations(pks))["_entities"]
    assert [image["pk"] for image in given] == pks
    assert len(statements) == 10


def test_5000_equal_representations_are_loaded_once(full: Server) -> None:
    (pk,) = sql(full, "SELECT MAX(pk) FROM image_info")[0]
    with statements_sent() as statements:
        given = full.data(ENTITIES, representations([pk] * 5000))["_entities"]
    assert given == [{"pk": pk, "dataset": {"title": "untrained"}}] * 5000
    assert len(statements) == 2


def test_a_long_page_asks_for_what_belongs_to_its_items_by_one_statement(full: Server) -> None:
    """However the answer is put together in pieces, the statements are the same."""
    query = "{ images(first: 1000) { edges { node { pk dataset { title images(first: 1) { totalCount } } } } } }"
    with statements_sent() as statements:
        edges = full.data(query)["images"]["edges"]
    assert len(edges) == 1000
    assert {edge["node"]["dataset"]["images"]["totalCount"] for edge in edges} == {10_000}
    assert len(statements) == 4


# As graphiql, @apollo/client's tools and graphql-codegen send it.
INTROSPECTION: dict[str, dict[str, Any]] = {
    "the plain one": {},
    "everything": {
        "descriptions": True,
        "specified_by_url": True,
        "directive_is_repeatable": True,
        "schema_description": True,
        "input_value_deprecation": True,
    },
}


@pytest.mark.parametrize("kind", INTROSPECTION)
def test_the_introspection_that_tools_ask_for_is_within_the_limits(full: Server, kind: str) -> None:
    schema = full.data(get_introspection_query(**INTROSPECTION[kind]))["__schema"]
    assert {"Dataset", "Image"} <= {named["name"] for named in schema["types"]}
