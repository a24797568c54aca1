"""The limits of a document: what is exactly at one passes, one more does not, and no refusal tells of the schema."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

import pytest

from graphql_server import migrations
from tests.front_door import codes
from tests.servers import Server, running, settings_for, statements_sent


def aliases(count: int) -> str:
    return "{ untrained { " + " ".join(f"a{number}: pk" for number in range(count)) + " } }"


def tokens(count: int) -> str:
    return f"{{ nodes(ids: [{'1 ' * (count - 12)}]) {{ id }} }}"


AT: dict[str, Callable[[int], str]] = {
    "depth": lambda n: "{ " + "a { " * (n - 1) + "a" + " }" * n,
    "aliases": aliases,
    "root_fields": lambda n: "{ " + " ".join(f"a{number}: __typename" for number in range(n)) + " }",
    "fields": lambda n: "{ untrained { " + " ".join(f"x{number}" for number in range(n - 1)) + " } }",
    "repeats": lambda n: f"{{ untrained {{ {'pk ' * n} }} }}",
    "directives": lambda n: f"{{ untrained {{ pk {'@include(if: true) ' * n} }} }}",
    "arguments": lambda n: f"{{ untrained {{ images({' '.join(f'a{number}: 1' for number in range(n))}) {{ x }} }} }}",
    "tokens": tokens,
    "comments": lambda n: "{ untrained { pk } }" + "\n#" * n,
    "cost": lambda n: f"{{ images(first: {n}) {{ totalCount }} }}",
}
SMALL = {
    "depth": 5, "aliases": 5, "root_fields": 3, "fields": 30, "repeats": 3, "directives": 4, "arguments": 7,
    "tokens": 60, "values": 10, "cost": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server whose operator has set every limit low."""
    folder = tmp_path_factory.mktemp("narrow")
    url = f"sqlite://{folder / 'test.db'}"
    asyncio.run(migrations.run(url, lambda name: None))
    low: dict[str, Any] = {f"query_{name}": most for name, most in SMALL.items()}
    with running(settings_for(url, folder / "media", **low)) as server:
        yield server


@pytest.mark.parametrize("name", AT)
def test_a_limit_that_the_operator_sets_is_held_exactly_and_named(narrow: Server, name: str) -> None:
    # The other limits are still wide enough for a document that is at this one.
    setting = "tokens" if name == "comments" else name
    most = SMALL[setting]
    assert "QUERY_TOO_COMPLEX" not in codes(narrow.post(AT[name](most)).json())
    with statements_sent() as statements:
        (error,) = narrow.result(AT[name](most + 1))["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    assert f"more than {most} " in error["message"]
    assert f"(QUERY_{setting.upper()})" in error["message"]
    assert statements == []


@pytest.mark.parametrize(
    ("query", "named"),
    [("{ untrained { pk } }" + " " * 100_000, "100000 characters"), ("{ a" * 300, "200 levels")],
    ids=["length", "nesting"],
)
def test_a_limit_that_is_fixed_is_named_too(production: Server, query: str, named: str) -> None:
    (error,) = production.result(query)["errors"]
    assert (error["extensions"]["code"], f"more than {named}" in error["message"]) == ("QUERY_TOO_COMPLEX", True)


def test_the_values_of_variables_are_limited_also_where_they_are_nested(narrow: Server) -> None:
    query = "query($r: [_Any!]!) { _entities(representations: $r) { __typename } }"
    image = {"__typename": "Image", "pk": 1}
    assert narrow.data(query, {"r": [image] * 3}) == {"_entities": [None] * 3}
    (error,) = narrow.result(query, {"r": [image] * 4})["errors"]
    assert (error["extensions"]["code"], "QUERY_VALUES" in error["message"]) == ("QUERY_TOO_COMPLEX", True)


def test_fragments_are_limited_where_they_are_spread(narrow: Server) -> None:
    deep = (
        "{ ...A } fragment A on Query { a { ...B } } fragment B on X { a { ...C } } fragment C on X { a { a { a } } }"
    )
    assert "QUERY_TOO_COMPLEX" not in codes(narrow.post(deep).json())
    deeper = deep.replace("{ a { a { a } } }", "{ a { a { a { a } } } }")
    assert codes(narrow.post(deeper).json()) == ["QUERY_TOO_COMPLEX"]
    merged = "{ untrained { ...A } untrained { ...A } untrained { pk ...A } } fragment A on Dataset { pk }"
    assert codes(narrow.post(merged).json()) == ["QUERY_TOO_COMPLEX"]


SUGGESTING: dict[str, tuple[str, dict[str, Any]]] = {
    "a field": ("{ untraine { pk } }", {}),
    "a nested field": ("{ untrained { titel } }", {}),
    "an argument": ("{ images(firts: 1) { totalCount } }", {}),
    "a type": ("{ node(id: 1) { ... on Imag { pk } } }", {}),
    "a fragment's type": ("{ untrained { ...A } } fragment A on Datase { pk }", {}),
    "a variable's type": ("query($a: Strin) { untrained { pk } }", {}),
    "an enum's value": ("{ images(orderBy: {field: CONFIDENC}) { totalCount } }", {}),
    "an input field": ("{ images(filter: {confidenc: {from: 0}}) { totalCount } }", {}),
    "a directive": ("{ untrained @skp(if: true) { pk } }", {}),
    "a directive's argument": ("{ untrained @skip(iff: true) { pk } }", {}),
    "an input field in a variable": (
        "query($f: ImageFilter) { images(filter: $f) { totalCount } }", {"f": {"modelDegre": [0]}}
    ),
    "an enum's value in a variable": (
        "query($o: ImageOrder) { images(orderBy: $o) { totalCount } }", {"o": {"field": "CONFIDENC"}}
    ),
    "a scalar": ("{ images { nodes { pk { x } } } }", {}),
    "an entity": (
        "query($r: [_Any!]!) { _entities(representations: $r) { __typename } }", {"r": [{"__typename": "Imag"}]}
    ),
    "an operation": ("query A { untrained { pk } } query B { untrained { pk } }", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SUGGESTING)
def test_without_introspection_no_error_tells_a_name_that_was_not_sent(production: Server, kind: str) -> None:
    answer = production.post(*SUGGESTING[kind])
    assert codes(answer.json())
    assert "did you mean" not in answer.text.lower()


def test_with_introspection_errors_suggest_names(narrow: Server) -> None:
    assert "Did you mean" in narrow.post("{ untraine { pk } }").text


@pytest.mark.parametrize("query", ["{ __schema { types { name } } }", '{ __type(name: "Image") { name } }'])
def test_without_introspection_the_schema_cannot_be_asked_about(production: Server, query: str) -> None:
    answer = production.post(query)
    assert set(codes(answer.json())) == {"GRAPHQL_VALIDATION_FAILED"}
    assert "data" not in answer.json()


def test_strangers_get_no_schema_by_way_of_federation(production: Server) -> None:
    stranger = Server(production.url, production.settings, production.user_server, token=None)
    answer = stranger.result("{ _service { sdl } }")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAUTHENTICATED"]
    assert not answer["data"]
