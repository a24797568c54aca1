"""What saveFix and saveFixes take and keep of a fix, what they refuse, and that a refusal leaves nothing."""

import gc
import hashlib
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.datastructures import UploadFile

from tests.fixes import SAVE_FIXES, send_fixes
from tests.front_door import codes
from tests.holdings import assert_whole, files_in, holdings
from tests.photos import photo
from tests.servers import Server
from tests.waiting import wait_until

LITERAL = """mutation($file: Upload!) {{
  saveFix(input: {{file: $file, modelDegree: {model}, confidence: {confidence}, userFixDegree: {user_fix}}}) {{
    image {{ modelDegree confidence userFixDegree }}
  }}
}}"""
DEGREES = [0, 90, 180, 270, 360]
NO_DEGREES = ["45", "-90", "450", "true", '"90"', "90.0", "9e1", "null", "[90]", "{}"]


def send_literals(server: Server, model: object = 90, confidence: object = 0.5, user_fix: object = 0) -> dict[str, Any]:
    query = LITERAL.format(model=model, confidence=confidence, user_fix=user_fix)
    return server.send_form(query, {"file": None}, {"0": ["variables.file"]}, {"0": ("photo.jpg", photo())}).json()


def test_the_stored_bytes_are_those_that_were_sent_exif_and_all(server: Server) -> None:
    content = photo(orientation=6, size=(640, 480))
    image = server.save(content)
    (path,) = (path for path in server.settings.media_root.glob("*/*.jpg"))
    assert path.read_bytes() == content
    assert (image["byteSize"], image["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (image["width"], image["height"], image["contentType"]) == (640, 480, "image/jpeg")
    assert_whole(server.settings)


def test_what_was_sent_is_freed_with_its_answer_and_not_when_the_collector_runs(shared: Server) -> None:
    def kept() -> int:
        return sum(type(each) is UploadFile for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        shared.save(photo())
        wait_until(lambda: kept() <= before)
    finally:
        gc.enable()


@pytest.mark.parametrize("degree", DEGREES)
def test_quarter_turns_are_taken_and_kept_as_sent(shared: Server, degree: int) -> None:
    sent: dict[str, Any] = {"exifDegree": degree, "modelDegree": degree, "userFixDegree": degree}
    image = shared.save(photo(), **sent)
    assert {name: image[name] for name in sent} == sent
    assert image["uprightDegree"] == 2 * degree % 360
    literal = send_literals(shared, model=degree, user_fix=degree)["data"]["saveFix"]["image"]
    assert (literal["modelDegree"], literal["userFixDegree"]) == (degree, degree)


@pytest.mark.parametrize("degree", NO_DEGREES)
def test_what_is_no_quarter_turn_is_refused_and_changes_nothing(shared: Server, degree: str) -> None:
    before = holdings(shared.settings)
    assert "errors" in send_literals(shared, model=degree)
    assert "errors" in send_literals(shared, user_fix=degree)
    for name in ("modelDegree", "userFixDegree"):
        assert codes(shared.upload(photo(), **{name: orjson.loads(degree)})) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("degree", [degree for degree in NO_DEGREES if degree != "null"])
def test_what_is_no_quarter_turn_is_refused_as_exif_degree_too(shared: Server, degree: str) -> None:
    before = holdings(shared.settings)
    assert codes(shared.upload(photo(), exifDegree=orjson.loads(degree))) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize(
    ("orientation", "degree"), [(None, 0), (1, 0), (2, 0), (3, 180), (4, 0), (5, 0), (6, 270), (7, 0), (8, 90)]
)
def test_without_an_exif_degree_the_one_that_the_file_asks_for_is_kept(
    shared: Server, orientation: int | None, degree: int
) -> None:
    content = photo(orientation=orientation)
    assert shared.save(content)["exifDegree"] == degree
    assert shared.save(content, exifDegree=None)["exifDegree"] == degree


def test_an_exif_degree_that_is_sent_is_kept_even_if_the_file_says_otherwise(shared: Server) -> None:
    content = photo(orientation=6)
    image = shared.save(content, exifDegree=0, modelDegree=90, userFixDegree=270)
    assert (image["exifDegree"], image["uprightDegree"]) == (0, 0)
    assert shared.get(image["url"]).content == content


@pytest.mark.parametrize("confidence", [0, 1, 0.0, 1.0, 0.1, 5e-324, 0.870000004768372])
def test_confidences_from_0_to_1_are_kept_exactly(shared: Server, confidence: float) -> None:
    assert shared.save(photo(), confidence=confidence)["confidence"] == confidence
    assert send_literals(shared, confidence=confidence)["data"]["saveFix"]["image"]["confidence"] == confidence


@pytest.mark.parametrize("confidence", ["-0.1", "1.1", "1.0000000000000002", "-5e-324", "1e308", "true", '"0.5"', "[]"])
def test_confidences_below_0_and_above_1_are_refused_and_change_nothing(shared: Server, confidence: str) -> None:
    before = holdings(shared.settings)
    assert "errors" in send_literals(shared, confidence=confidence)
    assert codes(shared.upload(photo(), confidence=orjson.loads(confidence))) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("confidence", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan"])
def test_confidences_that_are_not_finite_are_refused_and_change_nothing(shared: Server, confidence: str) -> None:
    before = holdings(shared.settings)
    assert "errors" in send_literals(shared, confidence=confidence)
    query = LITERAL.format(model=90, confidence="$confidence", user_fix=0).replace(
        "Upload!", "Upload!, $confidence: Float!"
    )
    operations = orjson.dumps({"query": query, "variables": {"file": None, "confidence": "?"}}).decode()
    answer = send_raw(shared, operations.replace('"?"', confidence))
    assert codes(answer) in (["BAD_REQUEST"], ["BAD_USER_INPUT"])
    assert holdings(shared.settings) == before


def send_raw(server: Server, operations: str) -> dict[str, Any]:
    with httpx.Client(verify=False, timeout=60) as client:
        return client.post(
            f"{server.url}/graphql",
            data={"operations": operations, "map": '{"0": ["variables.file"]}'},
            files={"0": ("photo.jpg", photo())},
            headers={**server.headers, "graphql-require-preflight": "1"},
        ).json()


NAMES = [
    "",
    "n" * 255,
    "가" * 255,
    "🍜" * 255,
    "../../etc/passwd",
    "C:\\Photos\\IMG 1.jpg",
    "nul\x00.jpg",
    "two\r\nlines.jpg",
    "e\u0301.jpg",
    "\u202egpj.exe",
    "'; DROP TABLE image_info; -- %s ?",
    "<img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_of_any_script_is_kept_as_sent_and_is_no_path(shared: Server, name: str) -> None:
    around = {path.name for path in shared.settings.media_root.parent.iterdir()}
    content = photo()
    image = shared.save(content, "upload.jpg", originalFileName=name)
    assert image["originalFileName"] == name
    assert shared.data("query($pk: Int!) { image(pk: $pk) { originalFileName } }", {"pk": image["pk"]}) == {
        "image": {"originalFileName": name}
    }
    path = Path(str(image["dataset"]["pk"])) / image["uuidFileName"]
    assert (shared.settings.media_root / path).read_bytes() == content
    assert {path.name for path in shared.settings.media_root.parent.iterdir()} == around
    assert shared.get(image["url"]).status_code == 200


@pytest.mark.parametrize("name", ["IMG 1.jpg", "점심 🍜.jpg", "../../x.jpg", "n" * 255])
def test_by_default_the_file_name_is_that_of_the_upload(shared: Server, name: str) -> None:
    assert shared.save(photo(), name)["originalFileName"] == name
    assert shared.save(photo(), name, originalFileName=None)["originalFileName"] == name


@pytest.mark.parametrize("name", ["n" * 256, "가" * 256, 5, ["photo.jpg"]])
def test_a_file_name_that_is_too_long_or_no_text_is_refused_and_changes_nothing(shared: Server, name: object) -> None:
    before = holdings(shared.settings)
    assert codes(shared.upload(photo(), originalFileName=name)) == ["BAD_USER_INPUT"]
    if isinstance(name, str):
        assert codes(shared.upload(photo(), name)) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


def test_of_several_fixes_the_bad_ones_are_errors_with_their_place_and_the_others_are_saved(server: Server) -> None:
    contents = [photo(seed=0), b"text", photo(seed=2), photo(seed=3), b""]
    answer = send_fixes(server, contents, input_3={"confidence": 1.5}, input_2={"originalFileName": "two"})
    saved = answer["data"]["saveFixes"]
    assert [payload and payload["image"]["originalFileName"] for payload in saved] == ["0.jpg", None, "two", None, None]
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["saveFixes", 1], "IMAGE_UNREADABLE"),
        (["saveFixes", 3], "BAD_USER_INPUT"),
        (["saveFixes", 4], "IMAGE_UNREADABLE"),
    ]
    assert all(error["message"] for error in answer["errors"])
    assert sorted(files_in(server.settings.media_root).values()) == sorted([contents[0], contents[2]])
    assert_whole(server.settings)


def test_several_fixes_are_saved_in_the_order_in_which_they_were_sent(server: Server) -> None:
    saved = send_fixes(server, [photo(seed=seed) for seed in range(5)])["data"]["saveFixes"]
    pks = [payload["image"]["pk"] for payload in saved]
    assert pks == sorted(pks)
    digests = [payload["image"]["sha256"] for payload in saved]
    assert digests == [hashlib.sha256(photo(seed=seed)).hexdigest() for seed in range(5)]


def test_no_fixes_are_no_error(shared: Server) -> None:
    assert shared.result(SAVE_FIXES, {"inputs": []}) == {"data": {"saveFixes": []}}


def test_an_input_that_the_schema_refuses_keeps_all_fixes_of_the_request_from_being_saved(shared: Server) -> None:
    before = holdings(shared.settings)
    answer = send_fixes(shared, [photo(seed=1), photo(seed=2)], input_1={"modelDegree": 45})
    assert codes(answer) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


def test_one_file_may_be_sent_for_several_fixes_and_is_stored_for_each(server: Server) -> None:
    content = photo(size=(640, 480))
    fix = {"file": None, "confidence": 0.5, "userFixDegree": 0, "onDuplicate": "ALLOW"}
    fixes = [{**fix, "modelDegree": degree} for degree in (0, 90)]
    places = {"0": ["variables.inputs.0.file", "variables.inputs.1.file"]}
    answer = server.send_form(SAVE_FIXES, {"inputs": fixes}, places, {"0": ("photo.jpg", content)}).json()
    images = [payload["image"] for payload in answer["data"]["saveFixes"]]
    assert images[0]["pk"] != images[1]["pk"]
    assert list(files_in(server.settings.media_root).values()) == [content, content]
    assert_whole(server.settings)
