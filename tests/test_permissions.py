"""Who gets in: whom the user server knows, and nobody when it cannot be asked."""

from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from graphql import FieldNode, OperationDefinitionNode, parse

from graphql_server import users
from graphql_server.schema.execution import build_schema
from tests.holdings import holdings
from tests.live import CHANGES, IMAGES
from tests.photos import photo
from tests.servers import SAVE_FIX, TOKEN, Server, running, settings_for
from tests.shared import sharing
from tests.waiting import Clock

OPERATIONS = [
    "{ datasets { nodes { pk title } } }",
    "{ untrained { pk } }",
    "{ dataset(pk: 1) { pk } }",
    "{ image(pk: 1) { pk } }",
    "{ images { nodes { pk url } } }",
    '{ node(id: "SW1hZ2U6MQ==") { id } }',
    '{ nodes(ids: ["SW1hZ2U6MQ=="]) { id } }',
    "{ _service { sdl } }",
    '{ _entities(representations: [{__typename: "Image", pk: 1}]) { ... on Image { url } } }',
    'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }',
    "mutation { removeImage(input: {pk: 1}) { image { pk } } }",
    "mutation { saveFixes(inputs: []) { image { pk } } }",
]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory, auth_cache_seconds=0.0) as server:
        server.save(photo())
        yield server


@pytest.fixture
def quick(shared: Server) -> Generator[Server]:
    """A server that holds an image, remembers no answer of the user server and has asked for none yet."""
    shared.user_server.asked.clear()
    yield shared
    shared.token, shared.user_server.answer = TOKEN, None


def ask(server: Server, **headers: str) -> list[str]:
    """Ask with these headers alone; gives the codes of the errors, none for an answer."""
    with httpx.Client(verify=False, timeout=60) as client:
        body = {"query": "{ untrained { title } }"}
        answer = client.post(f"{server.url}/graphql", json=body, headers=headers).json()
    if "errors" not in answer:
        assert answer["data"]["untrained"]["title"] == "untrained"
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


def assert_refused(server: Server, code: str) -> None:
    """Every operation is refused with the code, tells nothing and changes nothing."""
    before = holdings(server.settings)
    for operation in OPERATIONS:
        answer = server.result(operation)
        assert [error["extensions"]["code"] for error in answer["errors"]] == [code], operation
        assert [answer["data"]] == [None] or set(answer["data"].values()) == {None}, operation
    assert [error["extensions"]["code"] for error in server.upload(photo())["errors"]] == [code]
    assert holdings(server.settings) == before


@pytest.mark.parametrize("token", [None, "a-token-that-nobody-knows"])
def test_without_a_token_that_the_user_server_knows_nothing_is_read_or_written(
    quick: Server, token: str | None
) -> None:
    quick.token = token
    assert_refused(quick, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("too slow"),
        httpx.Response(500),
        httpx.Response(302, headers={"location": "http://elsewhere.test/"}),
        httpx.Response(404),
    ],
    ids=["no connection", "time-out", "500", "redirect", "404"],
)
def test_while_the_user_server_cannot_be_asked_nothing_is_read_or_written(
    quick: Server, answer: httpx.Response | httpx.TransportError
) -> None:
    quick.user_server.answer = answer
    assert_refused(quick, "USER_SERVER_UNAVAILABLE")
    quick.user_server.answer = None
    assert ask(quick, authorization=f"Bearer {TOKEN}") == []


def test_every_root_field_of_the_schema_is_among_the_operations_tried() -> None:
    # Subscriptions are tried over every way in test_live.py.
    definitions = [parse(text).definitions[0] for text in [*OPERATIONS, SAVE_FIX, IMAGES, CHANGES]]
    selected = [node.selection_set.selections for node in definitions if isinstance(node, OperationDefinitionNode)]
    tried = {field.name.value for fields in selected for field in fields if isinstance(field, FieldNode)}
    schema = build_schema()._schema  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - Strawberry shows it nowhere else
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root]
    assert tried == {name for root in roots for name in root.fields}


def test_the_token_comes_as_a_bearers_or_in_the_predecessors_header(quick: Server) -> None:
    assert ask(quick, authorization=f"Bearer {TOKEN}") == []
    assert ask(quick, authorization=f"bearer {TOKEN}") == []
    assert ask(quick, authorization=f"BEARER   {TOKEN}") == []
    assert ask(quick, access_token=TOKEN) == []
    assert ask(quick, authorization="Basic YTpi", access_token=TOKEN) == []
    assert quick.user_server.asked == [TOKEN] * 5


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}, Bearer {TOKEN}"},
        {"access_token": ""},
        {"access_token": "x" * 5_000},
        {"access-token": TOKEN},
        {"cookie": f"access_token={TOKEN}"},
    ],
)
def test_what_cannot_be_a_token_is_refused_without_asking(quick: Server, headers: dict[str, str]) -> None:
    assert ask(quick, **headers) == ["UNAUTHENTICATED"]
    assert quick.user_server.asked == []


@pytest.mark.parametrize("token", [TOKEN.upper(), TOKEN[:-1], f"{TOKEN}x"])
def test_a_token_is_compared_to_the_letter(quick: Server, token: str) -> None:
    assert ask(quick, authorization=f"Bearer {token}") == ["UNAUTHENTICATED"]


def test_the_bearers_token_counts_where_both_headers_are_sent(quick: Server) -> None:
    assert ask(quick, authorization="Bearer wrong", access_token=TOKEN) == ["UNAUTHENTICATED"]
    assert ask(quick, authorization=f"Bearer {TOKEN}", access_token="wrong") == []


def test_the_user_server_is_asked_once_a_request_however_many_root_fields_there_are(quick: Server) -> None:
    aliases = " ".join(f"a{number}: untrained {{ pk }}" for number in range(10))
    quick.data(f"{{ {aliases} datasets {{ nodes {{ images {{ nodes {{ pk }} }} }} }} }}")
    assert quick.user_server.asked == [TOKEN]


def test_a_request_that_cannot_run_does_not_ask_the_user_server(quick: Server) -> None:
    for query in ("{", "{ nothing }", "query A { untrained { pk } } query B { untrained { pk } }"):
        assert "errors" in quick.result(query)
    quick.codes("query($pk: Int!) { image(pk: $pk) { pk } }", {"pk": "one"})
    assert quick.user_server.asked == []


def test_a_request_that_was_answered_to_one_is_refused_to_another_and_read_anew(quick: Server) -> None:
    query = "{ images { totalCount nodes { pk } } }"
    before = [quick.data(query) for _ in range(2)][-1]["images"]["totalCount"]
    quick.save(photo(seed=2))
    assert quick.data(query)["images"]["totalCount"] == before + 1
    quick.token = "a-token-that-nobody-knows"
    assert quick.codes(query) == ["UNAUTHENTICATED"]
    quick.token = TOKEN
    assert quick.data(query)["images"]["totalCount"] == before + 1


def test_a_yes_is_remembered_for_auth_cache_seconds(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "time", clock := Clock())
    with running(settings_for(database_url, media_root, auth_cache_seconds=1.0)) as server:
        for _ in range(3):
            server.data("{ untrained { pk } }")
        assert server.user_server.asked == [TOKEN]
        server.user_server.users.clear()
        clock.now += 0.9
        server.data("{ untrained { pk } }")
        clock.now += 0.1
        assert server.codes("{ untrained { pk } }") == ["UNAUTHENTICATED"]


def test_pictures_and_the_state_of_the_server_are_given_without_a_token(quick: Server) -> None:
    image = quick.save(photo())
    quick.user_server.asked.clear()
    assert quick.get(image["url"]).status_code == 200
    assert quick.get("/healthz").status_code == 200
    assert quick.get("/readyz").status_code == 200
    assert quick.user_server.asked == []
