"""The server as a subgraph beside two others: composed by three composers, served by two gateways."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.interop.programs import SDL, listening, node
from tests.persisted import relay
from tests.photos import photo
from tests.processes import free_port
from tests.rows import Reader, global_id, put_datasets, put_images, serving
from tests.servers import KEY, SAVE_FIX, TOKEN, statements_sent

OTHERS = {"users": "gateway/users.graphql", "models": "gateway/models.graphql"}
GATEWAYS = {
    "apollo": ("gateway/apollo.mjs", "{supergraph}", "{port}"),
    "hive": (
        "node_modules/@graphql-hive/gateway/dist/bin.js",
        *("supergraph", "{supergraph}", "--config-path", "gateway/hive.mjs", "--host", "127.0.0.1", "--port", "{port}"),
    ),
}


REMOVE = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } } }"


@dataclass(frozen=True)
class Library:
    server: Reader
    datasets: list[int]
    images: list[int]
    corrected: int


@pytest.fixture(scope="module")
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Library]:
    folder = tmp_path_factory.mktemp("subgraph")
    listed = folder / "listed.json"
    listed.write_bytes(orjson.dumps(relay(SAVE_FIX, REMOVE)))
    # What the gateways make up is run by their secret alone.
    with serving("sqlite", request, folder, persisted_operations=listed, gateway_secret=(KEY,)) as server:
        datasets = put_datasets(server, [f"title {number}" for number in range(50)])
        images = put_images(server, datasets[0], [{"original_file_name": f"{number}.jpg"} for number in range(100)])
        corrected = server.save(photo(), "corrected.jpg")["pk"]
        yield Library(server, datasets, images, corrected)


@pytest.fixture(scope="module")
def addresses(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str]]:
    """Where the three subgraphs are."""
    data = {
        "favourite": library.images[1],
        "trainedOn": [global_id(f"Dataset:{pk}") for pk in library.datasets],
        "worst": [global_id(f"Image:{pk}") for pk in [library.corrected, *library.images[:99]]],
    }
    users, models = free_port(), free_port()
    command = ("gateway/neighbours.mjs", str(users), str(models), orjson.dumps(data).decode())
    with listening(tmp_path_factory.mktemp("neighbours"), models, *command):
        yield {
            "datasets": f"{library.server.url}/graphql",
            "users": f"http://127.0.0.1:{users}/",
            "models": f"http://127.0.0.1:{models}/",
        }


@pytest.fixture(scope="module", params=list(GATEWAYS))
def gateway(
    request: pytest.FixtureRequest, addresses: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Generator[str]:
    """The address of a gateway in front of the three subgraphs."""
    files = {"datasets": SDL, **OTHERS}
    composer = request.param
    composed = node("tools/compose.mjs", composer, *(f"{name}={files[name]}={url}" for name, url in addresses.items()))
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    supergraph = folder / "supergraph.graphql"
    supergraph.write_text(composed["supergraph"])
    command = (part.format(supergraph=supergraph, port=port) for part in GATEWAYS[composer])
    with listening(folder, port, *command, settings={"GATEWAY_SECRET": KEY}) as process:
        yield f"{process.url}/graphql"


def ask(gateway: str, query: str, token: str | None = TOKEN) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.post(gateway, json={"query": query}, headers=headers, timeout=30, trust_env=False).json()


@pytest.mark.parametrize("composer", ["apollo", "hive", "cosmo"])
def test_the_schema_composes_with_subgraphs_that_refer_to_it(composer: str, tmp_path: Path) -> None:
    others = [f"{name}={file}" for name, file in OTHERS.items()]
    composed = node("tools/compose.mjs", composer, f"datasets={SDL}", *others)
    assert (composed["errors"], composed["hints"]) == ([], [])
    for joined in ("savedBy: User", "modelVersions: [ModelVersion!]!", "favourite: Image", "name: String!"):
        assert joined in composed["supergraph"]
    broken = tmp_path / "broken.graphql"
    broken.write_text(SDL.read_text().replace("type PageInfo @shareable", "type PageInfo"))
    assert node("tools/compose.mjs", composer, f"datasets={broken}", *others)["errors"]


def test_a_gateway_joins_what_each_subgraph_knows(gateway: str, library: Library) -> None:
    answer = ask(
        gateway,
        """{ modelVersions { edges { node { name trainedOn { title modelVersions { name } } worst {
          originalFileName savedBy { name favourite { originalFileName dataset { title } } }
        } } } } }""",
    )
    assert "errors" not in answer
    first, second = (edge["node"] for edge in answer["data"]["modelVersions"]["edges"])
    assert [dataset["title"] for dataset in first["trainedOn"]] == [f"title {number}" for number in range(50)]
    assert first["trainedOn"][0]["modelVersions"] == [{"name": "v1"}, {"name": "v2"}]
    assert first["worst"][0] == {
        "originalFileName": "corrected.jpg",
        "savedBy": {"name": "Rhea", "favourite": {"originalFileName": "1.jpg", "dataset": {"title": "title 0"}}},
    }
    assert [image["originalFileName"] for image in first["worst"][1:]] == [f"{number}.jpg" for number in range(99)]
    assert {str(image["savedBy"]) for image in first["worst"][1:]} == {"None"}
    assert second == {"name": "v2", "trainedOn": [first["trainedOn"][0]], "worst": []}


def test_a_hundred_images_and_fifty_datasets_are_two_statements(gateway: str, library: Library) -> None:
    query = "{ modelVersions { edges { node { trainedOn { title } worst { originalFileName } } } } }"
    with statements_sent() as statements:
        (first, _) = ask(gateway, query)["data"]["modelVersions"]["edges"]
    assert (len(first["node"]["trainedOn"]), len(first["node"]["worst"])) == (50, 100)
    assert len(statements) == 2


def test_the_clients_token_is_passed_on_and_a_stranger_learns_nothing(gateway: str, library: Library) -> None:
    assert ask(gateway, "{ untrained { title } }") == {"data": {"untrained": {"title": "untrained"}}}
    hop = "{ modelVersions { edges { node { trainedOn { title } } } } }"
    for token in (None, "a-stranger"):
        for query in ("{ untrained { title } }", "{ images { nodes { originalFileName } } }", hop):
            answer = ask(gateway, query, token)
            assert "title 0" not in str(answer)
            data: dict[str, Any] = answer.get("data") or {}
            assert not data.get("untrained")
            assert not data.get("images")
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"UNAUTHENTICATED"}


@pytest.mark.parametrize("gateway", ["hive"], indirect=True)
def test_a_gateway_that_limits_costs_refuses_what_is_too_dear_without_asking(gateway: str, library: Library) -> None:
    nested = "{{ images(first: {0}) {{ nodes {{ dataset {{ images(first: {0}) {{ nodes {{ pk }} }} }} }} }} }}"
    assert ask(gateway, nested.format(30))["data"]["images"]["nodes"]
    with statements_sent() as statements:
        answer = ask(gateway, nested.format(1000))
    (error,) = answer["errors"]
    assert "cost" in error["message"]
    assert not answer.get("data")
    assert statements == []


@pytest.mark.parametrize("gateway", ["hive"], indirect=True)
def test_a_photo_is_saved_through_a_gateway_that_passes_forms_on(gateway: str, library: Library) -> None:
    through = replace(library.server, url=gateway.removesuffix("/graphql"))
    image = through.save(photo(seed=1), "through.jpg", userFixDegree=180)
    assert (image["originalFileName"], image["byteSize"]) == ("through.jpg", len(photo(seed=1)))
    assert library.server.get(image["url"]).content == photo(seed=1)
    library.server.data(REMOVE, {"pk": image["pk"]})


def test_a_gateway_runs_what_a_client_itself_may_not(gateway: str, library: Library) -> None:
    query = "{ untrained { title } }"
    assert library.server.codes(query) == ["PERSISTED_QUERY_ONLY"]
    assert ask(gateway, query) == {"data": {"untrained": {"title": "untrained"}}}


def test_errors_keep_their_codes_and_lists_their_pages(gateway: str, library: Library) -> None:
    answer = ask(gateway, "mutation { removeImage(input: {pk: 999999999}) { image { pk } } }")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
    names: list[str] = []
    page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        after = f', after: "{page["endCursor"]}"' if page["endCursor"] else ""
        fields = "nodes { originalFileName } pageInfo { hasNextPage endCursor }"
        images = ask(gateway, f"{{ images(first: 30{after}) {{ {fields} }} }}")["data"]["images"]
        names += [image["originalFileName"] for image in images["nodes"]]
        page = images["pageInfo"]
    assert names == [*(f"{number}.jpg" for number in range(100)), "corrected.jpg"]
