"""The page for the predecessor's front end: every call on it is made, by its own JavaScript, and does what it says."""

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.photos import photo
from tests.processes import PROJECT
from tests.servers import Server

PAGE = (PROJECT / "docs" / "from-grpc.md").read_text(encoding="utf-8")
CALLS = dict(re.findall(r"<!-- example: (\w+) -->\n```graphql\n(.*?)```", PAGE, re.DOTALL))
VARIABLES = {
    name: json.loads(text)
    for name, text in re.findall(r"<!-- example: (\w+) -->\n```graphql\n.*?```\n\n```json\n(.*?)```", PAGE, re.DOTALL)
}
FUNCTIONS = "\n".join(re.findall(r"<!-- example: \w+ -->\n```js\n(.*?)```", PAGE, re.DOTALL))
CALLER = (
    FUNCTIONS
    + """
import { readFileSync } from "node:fs";
const { server, token, steps, photo } = JSON.parse(readFileSync(0, "utf8"));
const file = new File([Buffer.from(photo, "base64")], "photo.jpg", { type: "image/jpeg" });
const told = [];
for (const { query, variables, upload, list } of steps) {
  try {
    told.push(
      list
        ? { nodes: await everything(server, token, query, variables, (data) => list.reduce((o, key) => o[key], data)) }
        : { data: await call(server, token, query, variables, upload ? file : null) },
    );
  } catch ({ message, code }) {
    told.push({ message, code });
  }
}
console.log(JSON.stringify(told));
"""
)


def step(name: str, **changed: Any) -> dict[str, Any]:
    """A call of the page, with its own variables but for what is changed."""
    variables = VARIABLES[name]
    given = {"input": {**variables["input"], **changed}} if "input" in variables else {**variables, **changed}
    return {"query": CALLS[name], "variables": given, "upload": name == "SaveUserFixImage"}


def told(server: Server, content: bytes, *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page's functions give for these calls, one after the other."""
    sent = {"server": server.url, "token": server.token, "steps": steps, "photo": base64.b64encode(content).decode()}
    node = Path(sys.executable).parent / "node"
    ran = subprocess.run(
        [node, "--input-type=module", "--eval", CALLER],
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(ran.stdout)


def test_the_page_has_each_of_the_predecessors_calls() -> None:
    assert set(CALLS) == set(VARIABLES) == set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE))
    assert len(CALLS) == 6


@pytest.mark.parametrize("engine", ["sqlite"])
def test_every_call_runs_as_it_stands(server: Server) -> None:
    saved, chosen, images, created, datasets, removed, gone = told(
        server,
        photo(),
        step("SaveUserFixImage"),
        step("GetChooseImageInfoList"),
        step("GetImageInfoList"),
        step("CreateDatasetInfo"),
        {**step("GetDatasetInfoList"), "list": ["datasets"]},
        step("RemoveImage"),
        step("RemoveImage"),
    )
    assert saved["data"]["saveFix"]["created"] is True
    (image,) = chosen["data"]["dataset"]["images"]["nodes"]
    assert (image["originalFileName"], image["confidence"], image["modelDegree"]) == ("IMG_1.jpg", 0.87, 90)
    assert images["data"]["images"]["nodes"] == [{**image, "dataset": {"pk": 1}}]
    assert created["data"]["createDataset"]["untrained"] == {"pk": 2}
    assert datasets["nodes"] == [{"pk": 1, "title": "Lunch"}, {"pk": 2, "title": "untrained"}]
    assert removed["data"]["removeImage"]["image"] == {"pk": 1}
    assert gone["code"] == "NOT_FOUND"


@pytest.mark.parametrize("engine", ["sqlite"])
def test_lists_longer_than_a_page_are_read_to_their_end(server: Server) -> None:
    for number in range(7):
        server.save(photo(seed=number), f"{number}.jpg")
    of_three = {name: query.replace("first: 1000", "first: 3") for name, query in CALLS.items()}
    images, chosen = told(
        server,
        b"",
        {**step("GetImageInfoList"), "query": of_three["GetImageInfoList"], "list": ["images"]},
        {**step("GetChooseImageInfoList"), "query": of_three["GetChooseImageInfoList"], "list": ["dataset", "images"]},
    )
    assert [image["pk"] for image in images["nodes"]] == [image["pk"] for image in chosen["nodes"]] == list(range(1, 8))


@pytest.mark.parametrize("engine", ["sqlite"])
def test_what_is_refused_has_the_code_that_the_page_tells(server: Server) -> None:
    refused = {
        "IMAGE_UNREADABLE": step("SaveUserFixImage"),
        "BAD_USER_INPUT": step("SaveUserFixImage", modelDegree=45),
        "NOT_FOUND": step("RemoveImage"),
        "CONFLICT": step("CreateDatasetInfo", title=" LUNCH"),
    }
    server.data(CALLS["CreateDatasetInfo"], VARIABLES["CreateDatasetInfo"])
    titles = [step("CreateDatasetInfo", title=title) for title in ("untrained", " ", "x" * 101)]
    answers = told(server, b"GIF89a is no picture here", *refused.values(), *titles)
    assert [answer["code"] for answer in answers] == [*refused, *["BAD_USER_INPUT"] * 3]
    stranger = replace(server, token="another")
    assert told(stranger, b"", step("GetDatasetInfoList"))[0]["code"] == "UNAUTHENTICATED"
    server.user_server.answer = httpx.ConnectError("away")
    (away,) = told(replace(server, token="third"), b"", step("GetDatasetInfoList"))
    assert away["code"] == "USER_SERVER_UNAVAILABLE"


@pytest.mark.parametrize("engine", ["sqlite"])
def test_an_unknown_dataset_is_null_and_a_photo_that_is_there_is_not_saved_again(server: Server) -> None:
    unknown, first, second, copy = told(
        server,
        photo(),
        step("GetChooseImageInfoList", pk=404),
        step("SaveUserFixImage"),
        step("SaveUserFixImage"),
        step("SaveUserFixImage", onDuplicate="ALLOW"),
    )
    assert unknown == {"data": {"dataset": None}}
    saved = [answer["data"]["saveFix"] for answer in (first, second, copy)]
    assert [answer["created"] for answer in saved] == [True, False, True]
    assert saved[0]["image"]["pk"] == saved[1]["image"]["pk"] != saved[2]["image"]["pk"]
