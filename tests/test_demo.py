"""The demo, and the user server that comes with it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import Run, assert_one_line
from tests.processes import free_port, server_of, settings_of, started
from tests.servers import TOKEN, Server


def test_the_demos_user_server_needs_a_token_that_the_server_would_ask_about(run: Run) -> None:
    assert_one_line(run("demo-users"), "DEMO_TOKEN")
    for token in ("\udcff", "ü", "two words"):
        assert_one_line(run("demo-users", DEMO_TOKEN=token), "DEMO_TOKEN", "openssl rand")


def test_the_demo_starts_on_an_empty_folder_and_keeps_its_data_at_the_second_start(tmp_path: Path) -> None:
    query = "{ datasets { nodes { title isUntrained images { nodes { pk url modelDegree userFixDegree } } } } }"
    found: list[Any] = []
    tokens: list[str] = []
    for _ in range(2):
        with started(tmp_path, "demo", "--folder", str(tmp_path / "demo")) as process:
            (address,) = re.findall(r"http://\S+/graphql#token=\S+", process.output.read_text())[-1:]
            url, _, token = address.partition("/graphql#token=")
            assert url == process.url
            server = dataclasses.replace(server_of(process, settings_of("sqlite://x", tmp_path / "x", "")), token=token)
            found.append(server.data(query)["datasets"]["nodes"])
            assert server.get(found[-1][0]["images"]["nodes"][0]["url"]).headers["content-type"].startswith("image/")
            assert server.get("/graphql", accept="text/html").headers["content-type"].startswith("text/html")
            server.token = "another"
            assert server.codes(query) == ["UNAUTHENTICATED"]
            assert process.terminate() == 0
            tokens.append(token)
    assert [dataset["isUntrained"] for dataset in found[0]] == [False, True]
    images = [[image["pk"] for dataset in each for image in dataset["images"]["nodes"]] for each in found]
    assert images[0] == images[1] != []
    fixes = {image["userFixDegree"] for dataset in found[0] for image in dataset["images"]["nodes"]}
    assert 0 in fixes
    assert len(fixes) > 1
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_a_demo_that_listens_everywhere_names_an_address_that_a_browser_opens(
    tmp_path: Path, host: str, shown: str
) -> None:
    with started(tmp_path, "demo", "--folder", str(tmp_path / "demo"), HOST=host) as process:
        (address,) = re.findall(r"    (http://\S+)#token=", process.output.read_text())
        assert address == f"http://{shown}:{process.port}/graphql"


def test_a_second_demo_in_one_folder_is_one_line_that_says_what_to_do(demo: Server, run: Run) -> None:
    folder = demo.settings.media_root.parent
    result = run("demo", "--folder", str(folder), PORT=str(free_port()))
    assert_one_line(result, str(folder), "--folder")
    assert demo.data("{ untrained { title } }") == {"untrained": {"title": "untrained"}}


def test_the_demos_user_server_knows_one_token(tmp_path: Path) -> None:
    with started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN) as process:
        asked = [
            httpx.post(
                f"{process.url}/authenticate",
                headers={"authorization": f"Bearer {token}"},
                verify=False,
                trust_env=False,
            )
            for token in (TOKEN, "another")
        ]
    assert [answer.status_code for answer in asked] == [200, 401]


def test_the_demos_user_server_logs_as_the_settings_say(tmp_path: Path) -> None:
    with (
        started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN, LOG_FORMAT="text") as told,
        started(tmp_path, "demo-users", DEMO_TOKEN=TOKEN, LOG_LEVEL="error") as silent,
    ):
        pass
    assert f"listening address={told.url}" in told.output.read_text()
    assert silent.output.read_text() == ""
