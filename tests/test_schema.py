"""The schema: written down, described, named alike, and closed to strangers at every door."""

import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import orjson
import pytest
import strawberry
from graphql import get_introspection_query

from graphql_server.cli import main
from graphql_server.schema import execution
from graphql_server.schema.query import Query
from tests.rows import Reader, serving
from tests.servers import TOKEN, Server, running, settings_for, statements_sent

ROOT = Path(__file__).parent.parent
STRANGER = "a-token-that-nobody-knows"
# What federation adds to every schema, and describes in its own specification.
FEDERATION = ("_Any", "_FieldSet", "_Service", "link__", "Query._service")
SAMPLES: dict[str, Any] = {
    "Int": 1,
    "Float": 0.5,
    "String": "x",
    "ID": "x",
    "Boolean": True,
    "Degree": 90,
    "Upload": None,
}

Node = dict[str, Any]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Reader]:
    with serving(request.param, request, tmp_path_factory.mktemp("schema")) as server:
        yield server


def types_of(server: Server) -> dict[str, Node]:
    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True, directive_is_repeatable=True)
    return {kind["name"]: kind for kind in server.data(query)["__schema"]["types"]}


def members_of(kind: Node) -> list[Node]:
    parts = (kind[part] for part in ("fields", "inputFields", "enumValues"))
    return [member for part in parts if part for member in part]


def named(types: dict[str, Node]) -> Iterator[tuple[str, Node]]:
    """Everything of ours in the schema that has a name, by its place there."""
    for name, kind in types.items():
        if name.startswith(("__", *FEDERATION)):
            continue
        yield name, kind
        for member in members_of(kind):
            if f"{name}.{member['name']}".startswith(FEDERATION):
                continue
            yield f"{name}.{member['name']}", member
            arguments: list[Node] = member.get("args", [])
            for argument in arguments:
                yield f"{name}.{member['name']}({argument['name']})", argument


def test_the_schema_that_is_written_down_is_the_one_that_is_printed() -> None:
    command = [sys.executable, "-m", "graphql_server", "schema"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert printed.stderr == ""
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == printed.stdout


def test_a_schema_that_is_stale_is_told_from_one_that_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "stale.graphql"
    text = (ROOT / "schema.graphql").read_text(encoding="utf-8")
    stale.write_text(text.replace("sealedAt", "closedAt"), encoding="utf-8")
    for file, status, said in ((ROOT / "schema.graphql", 0, ""), (stale, 1, f"{stale} is stale")):
        with pytest.raises(SystemExit) as ended:
            main(["schema", "--check", str(file)])
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out) == (status, "")
        assert said in shown.err


def test_the_gateway_reads_what_is_written_down(reader: Reader) -> None:
    def said(sdl: str) -> set[str]:
        # Federation leaves out of _service what it adds itself.
        added = ("_", "schema @link", "  query:", "  mutation:")
        return {line for line in sdl.splitlines() if line.strip() and not line.strip().startswith(added)}

    served = said(reader.data("{ _service { sdl } }")["_service"]["sdl"])
    assert len(served) > 100
    assert served <= said((ROOT / "schema.graphql").read_text(encoding="utf-8"))


def test_everything_in_the_schema_is_described(reader: Reader) -> None:
    found = dict(named(types_of(reader)))
    assert {"Query.images(orderBy)", "ImageOrderField.CONFIDENCE", "SaveFixInput.file", "Degree"} <= set(found)
    assert [place for place, what in found.items() if not (what["description"] or "").strip()] == []


def test_names_are_written_alike(reader: Reader) -> None:
    types = types_of(reader)
    for place, found in named(types):
        name, owner = found["name"], types.get(place.partition(".")[0], {})
        if place in types:
            assert re.fullmatch(r"_?[A-Z][A-Za-z0-9]*", name), place
        elif owner["kind"] == "ENUM":
            assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", name), place
        else:
            assert re.fullmatch(r"[a-z][A-Za-z0-9]*|_entities", name), place


def test_the_predecessors_columns_are_fields_of_the_same_name(reader: Reader) -> None:
    fields = {name: {field["name"] for field in types_of(reader)[name]["fields"]} for name in ("Dataset", "Image")}
    assert {"id", "pk", "title", "isUntrained", "createdAt", "sealedAt", "images"} == fields["Dataset"]
    columns = {"pk", "originalFileName", "uuidFileName", "exifDegree", "modelDegree", "confidence", "userFixDegree"}
    added = {
        "id",
        "dataset",
        "uprightDegree",
        "url",
        "contentType",
        "width",
        "height",
        "byteSize",
        "sha256",
        "createdAt",
        "savedBy",
    }
    assert columns | added == fields["Image"]


def sample(types: dict[str, Node], kind: Node) -> Any:
    """A value that this input type takes; only what must be given is."""
    if kind["kind"] == "NON_NULL":
        return sample(types, kind["ofType"])
    if kind["kind"] == "LIST":
        return [sample(types, kind["ofType"])]
    if kind["kind"] == "INPUT_OBJECT":
        return required(types, types[kind["name"]]["inputFields"])
    return SAMPLES.get(kind["name"], {"__typename": "Dataset", "pk": 1})


def required(types: dict[str, Node], inputs: list[Node]) -> Node:
    return {
        value["name"]: sample(types, value["type"])
        for value in inputs
        if value["type"]["kind"] == "NON_NULL" and value["defaultValue"] is None
    }


def written(kind: Node) -> str:
    if kind["kind"] == "NON_NULL":
        return written(kind["ofType"]) + "!"
    return f"[{written(kind['ofType'])}]" if kind["kind"] == "LIST" else kind["name"]


def innermost(kind: Node) -> Node:
    return innermost(kind["ofType"]) if kind["ofType"] else kind


def places_of_files(value: Any, path: str) -> list[str]:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return [place for key, item in items.items() for place in places_of_files(item, f"{path}.{key}")] + [
            f"{path}.{key}" for key in items if key == "file"
        ]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [place for at, item in enumerate(items) for place in places_of_files(item, f"{path}.{at}")]
    return []


def calls(types: dict[str, Node]) -> Iterator[tuple[str, str, Node]]:
    """A call of every root field: its name, a document and the variables."""
    for root, operation in (("Query", "query"), ("Mutation", "mutation")):
        for field in types[root]["fields"]:
            variables = required(types, field["args"])
            arguments = {arg["name"]: written(arg["type"]) for arg in field["args"] if arg["name"] in variables}
            declared = ", ".join(f"${name}: {kind}" for name, kind in arguments.items())
            passed = ", ".join(f"{name}: ${name}" for name in arguments)
            composite = innermost(field["type"])["kind"] in ("OBJECT", "INTERFACE", "UNION")
            document = operation + (f"({declared})" if declared else "") + " { " + field["name"]
            document += (f"({passed})" if passed else "") + (" { __typename }" if composite else "") + " }"
            yield field["name"], document, variables


def ask(server: Server, document: str, variables: Node) -> httpx.Response:
    places = places_of_files(variables, "variables")
    if not places:
        return server.post(document, variables)
    names = [str(number) for number in range(len(places))]
    files: dict[str, tuple[str, bytes]] = dict.fromkeys(names, ("photo.jpg", b"no picture at all"))
    return server.send_form(document, variables, {name: [at] for name, at in zip(names, places, strict=True)}, files)


def test_every_root_field_is_closed_to_strangers(reader: Reader) -> None:
    every = list(calls(types_of(reader)))
    assert {name for name, _, _ in every} >= {"datasets", "images", "node", "_entities", "_service", "saveFixes"}
    for token, asked in ((None, []), (STRANGER, [STRANGER])):
        stranger = Reader(reader.url, reader.settings, reader.user_server, token, reader.client)
        for name, document, variables in every:
            reader.user_server.asked.clear()
            with statements_sent() as statements:
                answer = ask(stranger, document, variables)
            body = orjson.loads(answer.content)
            assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"], name
            assert body.get("data") in (None, {name: None}), name
            assert statements == [], name
            # A refused token is remembered for a moment, so the user server is asked at most once.
            assert reader.user_server.asked in (asked, []), name
    assert list(reader.settings.media_root.rglob("*.jpg")) == []


def test_every_root_field_opens_to_whom_the_user_server_knows(reader: Reader) -> None:
    for name, document, variables in calls(types_of(reader)):
        body = orjson.loads(ask(reader, document, variables).content)
        codes = {error["extensions"]["code"] for error in body.get("errors", [])}
        assert codes <= {"BAD_USER_INPUT", "NOT_FOUND", "IMAGE_UNREADABLE"}, name


def test_one_closed_field_gives_the_open_ones_no_way_in(reader: Reader) -> None:
    """Aliases, fragments and directives reach the same root fields."""
    stranger = Reader(reader.url, reader.settings, reader.user_server, STRANGER, reader.client)
    for document in (
        "{ a: untrained { pk } b: untrained { pk } }",
        "{ ...F } fragment F on Query { untrained { pk } }",
        "{ ... on Query { ... @include(if: true) { untrained { pk } } } }",
        "{ __typename untrained { pk } }",
    ):
        with statements_sent() as statements:
            result = stranger.result(document)
        assert result.get("data") is None
        assert {error["extensions"]["code"] for error in result["errors"]} == {"UNAUTHENTICATED"}
        assert statements == []


@strawberry.type(name="Query", description="What can be read.")
class TomorrowsQuery(Query):
    @strawberry.field(description="A field that was added without a thought of permissions.")
    def added(self) -> str:
        return "open"

    unguarded: str = strawberry.field(default="open", description="A field without a resolver.")


def test_a_root_field_that_is_added_is_closed_too(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "Query", TomorrowsQuery)
    with running(settings_for(database_url, media_root)) as server:
        assert server.data("{ added }") == {"added": "open"}
        server.token = None
        assert server.codes("{ added }") == ["UNAUTHENTICATED"]
        assert server.codes("{ unguarded }") == ["UNAUTHENTICATED"]
        server.token = TOKEN.upper()
        assert server.codes("{ added }") == ["UNAUTHENTICATED"]
        assert server.user_server.asked == [TOKEN, TOKEN.upper()]


def test_without_introspection_the_schema_is_not_read(database_url: str, media_root: Path) -> None:
    with running(settings_for(database_url, media_root, introspection=False)) as server:
        for query in (
            "{ __schema { types { name } } }",
            '{ __type(name: "Query") { name } }',
            get_introspection_query(),
        ):
            assert set(server.codes(query)) == {"GRAPHQL_VALIDATION_FAILED"}
        assert server.data("{ __typename untrained { __typename } }") == {
            "__typename": "Query",
            "untrained": {"__typename": "Dataset"},
        }
