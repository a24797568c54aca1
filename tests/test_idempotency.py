"""What is sent again has its effect once, and a photo that is there is not saved twice."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.holdings import ask, files_in
from tests.photos import photo
from tests.processes import command
from tests.servers import SAVE_FIX, Server
from tests.together import REMOVE

SEAL = """mutation($title: String!, $key: String) {
  createDataset(input: {title: $title, idempotencyKey: $key}) { dataset { pk title } untrained { pk } }
}"""
SAVE = SAVE_FIX.replace("saveFix(input: $input) {", "saveFix(input: $input) { created")
COUNT = "{ images { totalCount } datasets { totalCount } }"


async def saves(server: Server, inputs: list[dict[str, Any]], contents: list[bytes]) -> list[dict[str, Any]]:
    """Send many fixes at the same time; gives the whole responses."""

    async def one(client: httpx.AsyncClient, input: dict[str, Any], content: bytes) -> dict[str, Any]:
        given = {"modelDegree": 90, "confidence": 0.75, "userFixDegree": 0, **input, "file": None}
        form = {
            "operations": orjson.dumps({"query": SAVE, "variables": {"input": given}}).decode(),
            "map": '{"0": ["variables.input.file"]}',
        }
        answer = await client.post(f"{server.url}/graphql", data=form, files={"0": ("photo.jpg", content)})
        return answer.json()

    headers = {**server.headers, "graphql-require-preflight": "1"}
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as client:
        return list(await asyncio.gather(*(one(client, *each) for each in zip(inputs, contents, strict=True))))


def test_the_same_photo_is_saved_once_and_given_back(server: Server, media_root: Path) -> None:
    first = server.upload(photo(seed=0), query=SAVE)["data"]["saveFix"]
    again = server.upload(photo(seed=0), "other.jpg", query=SAVE, userFixDegree=180)["data"]["saveFix"]
    assert (first["created"], again["created"]) == (True, False)
    assert again["image"] == first["image"]
    assert len(files_in(media_root)) == 1


def test_a_copy_is_saved_where_it_is_asked_for_and_refused_where_that_is(server: Server, media_root: Path) -> None:
    first = server.save(photo(seed=0))
    copy = server.save(photo(seed=0), onDuplicate="ALLOW")
    assert copy["pk"] != first["pk"]
    errors = server.upload(photo(seed=0), onDuplicate="REJECT")["errors"]
    assert [error["extensions"]["code"] for error in errors] == ["CONFLICT"]
    assert str(first["pk"]) in errors[0]["message"]
    assert len(files_in(media_root)) == 2


def test_a_photo_of_a_named_dataset_may_be_saved_into_the_fresh_one(server: Server) -> None:
    first = server.save(photo(seed=0))
    server.data(SEAL, {"title": "Lunch"})
    assert server.save(photo(seed=0), onDuplicate="REJECT")["pk"] != first["pk"]


def test_a_removed_photo_may_be_saved_anew(server: Server) -> None:
    first = server.save(photo(seed=0))
    server.data(REMOVE, {"pk": first["pk"]})
    assert server.save(photo(seed=0), onDuplicate="REJECT")["pk"] != first["pk"]


def test_after_the_first_of_two_copies_is_removed_the_second_is_given_back(server: Server) -> None:
    first = server.save(photo(seed=0))
    second = server.save(photo(seed=0), onDuplicate="ALLOW")
    server.data(REMOVE, {"pk": first["pk"]})
    assert server.save(photo(seed=0))["pk"] == second["pk"]


@pytest.mark.parametrize(
    ("policy", "images", "refused"), [("RETURN_EXISTING", 1, 0), ("REJECT", 1, 99), ("ALLOW", 100, 0)]
)
def test_a_hundred_senders_of_one_photo_get_what_they_ask_for(
    server: Server, media_root: Path, policy: str, images: int, refused: int
) -> None:
    results = asyncio.run(saves(server, [{"onDuplicate": policy}] * 100, [photo(seed=0)] * 100))
    codes = [error["extensions"]["code"] for result in results for error in result.get("errors", [])]
    assert codes == ["CONFLICT"] * refused
    saved = [result["data"]["saveFix"] for result in results if result["data"]["saveFix"]]
    assert len({payload["image"]["pk"] for payload in saved}) == images
    assert sum(payload["created"] for payload in saved) == images
    assert server.data(COUNT)["images"]["totalCount"] == images
    assert len(files_in(media_root)) == images


def test_a_fix_that_is_sent_again_with_its_key_is_saved_once(server: Server, media_root: Path) -> None:
    sent = {"idempotencyKey": "k-1", "onDuplicate": "ALLOW", "query": SAVE}
    first, again = (server.upload(photo(seed=0), **sent)["data"]["saveFix"] for _ in range(2))
    assert (first["created"], again["created"]) == (True, False)
    assert again["image"] == first["image"]
    assert len(files_in(media_root)) == 1


@pytest.mark.parametrize(
    "other",
    [{"userFixDegree": 90}, {"confidence": 0.5}, {"originalFileName": "b.jpg"}, {"exifDegree": 90}, {"photo": 2}],
    ids=str,
)
def test_the_same_key_with_another_fix_is_a_conflict(server: Server, other: dict[str, Any]) -> None:
    server.save(photo(seed=0), idempotencyKey="k-2")
    sent = {name: value for name, value in other.items() if name != "photo"}
    result = server.upload(photo(seed=other.get("photo", 0)), idempotencyKey="k-2", **sent)
    assert [error["extensions"]["code"] for error in result["errors"]] == ["CONFLICT"]
    assert server.data(COUNT)["images"]["totalCount"] == 1


def test_a_hundred_senders_of_one_key_have_one_effect(server: Server, media_root: Path) -> None:
    given = {"idempotencyKey": "k-3", "onDuplicate": "ALLOW"}
    results = asyncio.run(saves(server, [given] * 100, [photo(seed=0)] * 100))
    assert [result for result in results if "errors" in result] == []
    assert len({result["data"]["saveFix"]["image"]["pk"] for result in results}) == 1
    assert sum(result["data"]["saveFix"]["created"] for result in results) == 1
    assert len(files_in(media_root)) == 1


def test_a_key_stays_good_when_the_dataset_has_been_named_meanwhile(server: Server) -> None:
    first = server.save(photo(seed=0), idempotencyKey="k-4")
    server.data(SEAL, {"title": "Lunch"})
    assert server.save(photo(seed=0), idempotencyKey="k-4")["pk"] == first["pk"]
    assert server.data(COUNT)["images"]["totalCount"] == 1


def test_a_key_whose_image_was_removed_saves_nothing_anew(server: Server) -> None:
    first = server.save(photo(seed=0), idempotencyKey="k-5")
    server.data(REMOVE, {"pk": first["pk"]})
    result = server.upload(photo(seed=0), idempotencyKey="k-5")
    assert [error["extensions"]["code"] for error in result["errors"]] == ["NOT_FOUND"]


def test_a_dataset_is_named_once_for_one_key(server: Server) -> None:
    first = server.data(SEAL, {"title": "Lunch", "key": "s-1"})
    assert server.data(SEAL, {"title": "Lunch", "key": "s-1"}) == first
    assert server.codes(SEAL, {"title": "Dinner", "key": "s-1"}) == ["CONFLICT"]
    assert server.data(COUNT)["datasets"]["totalCount"] == 2


def test_twenty_senders_of_one_key_name_one_dataset(server: Server) -> None:
    async def send() -> list[dict[str, Any]]:
        body = {"query": SEAL, "variables": {"title": "Lunch", "key": "s-2"}}
        async with httpx.AsyncClient(headers=server.headers, timeout=60) as client:
            posts = [client.post(f"{server.url}/graphql", json=body) for _ in range(20)]
            return [answer.json() for answer in await asyncio.gather(*posts)]

    results = asyncio.run(send())
    assert {orjson.dumps(result) for result in results} == {orjson.dumps(results[0])}
    assert "errors" not in results[0]
    assert server.data(COUNT)["datasets"]["totalCount"] == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "schlüssel", "a\nb"], ids=["empty", "long", "umlaut", "line end"])
def test_a_key_that_cannot_be_one_is_refused(server: Server, key: str) -> None:
    assert server.codes(SEAL, {"title": "Lunch", "key": key}) == ["BAD_USER_INPUT"]
    assert server.data(COUNT)["datasets"]["totalCount"] == 1


def test_the_doctor_forgets_keys_after_a_week_and_no_earlier(server: Server) -> None:
    for key in ("old", "new"):
        server.save(photo(), idempotencyKey=key)
    url, root = server.settings.database_url, server.settings.media_root
    ((newest,),) = ask(url, "SELECT idempotency_key FROM idempotency_key ORDER BY created_at DESC LIMIT 1")
    ask(url, f"UPDATE idempotency_key SET created_at = '2020-01-01 00:00:00' WHERE idempotency_key <> '{newest}'")
    doctor = command("doctor", "--repair", DATABASE_URL=url, MEDIA_ROOT=str(root))
    assert doctor.returncode == 0, doctor.stderr
    assert ask(url, "SELECT idempotency_key FROM idempotency_key") == [(newest,)]


def test_keys_that_differ_by_a_space_are_two(server: Server) -> None:
    assert server.save(photo(), idempotencyKey="k")["pk"] != server.save(photo(), idempotencyKey="k ")["pk"]


def test_two_users_may_choose_the_same_key(server: Server) -> None:
    server.user_server.users["another"] = {"pk": 8}
    other = replace(server, token="another")
    assert server.save(photo(), idempotencyKey="k")["pk"] != other.save(photo(), idempotencyKey="k")["pk"]
