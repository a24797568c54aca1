"""What saveFix and saveFixes take and keep, what they refuse, and that a refusal leaves nothing."""

import errno
import gc
import hashlib
import io
import os
import re
import struct
import tempfile
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from PIL import Image
from starlette.datastructures import UploadFile

from graphql_server import disk
from graphql_server.disk import STAGING
from graphql_server.http import multipart
from graphql_server.media import PIECE_BYTES
from tests.holdings import ask, assert_whole, files_in, holdings
from tests.photos import photo
from tests.servers import Server, running, settings_for
from tests.shared import sharing
from tests.waiting import wait_until

LITERAL = """mutation($file: Upload!) {{
  saveFix(input: {{file: $file, modelDegree: {model}, confidence: {confidence}, userFixDegree: {user_fix}}}) {{
    image {{ modelDegree confidence userFixDegree }}
  }}
}}"""
SAVE_FIXES = """mutation($inputs: [SaveFixInput!]!) {
  saveFixes(inputs: $inputs) { image { pk originalFileName uuidFileName sha256 dataset { isUntrained } } }
}"""
DEGREES = [0, 90, 180, 270, 360]
NO_DEGREES = ["45", "-90", "450", "true", '"90"', "90.0", "9e1", "null", "[90]", "{}"]


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with sharing(request, tmp_path_factory) as server:
        yield server


def send_literals(server: Server, model: object = 90, confidence: object = 0.5, user_fix: object = 0) -> dict[str, Any]:
    query = LITERAL.format(model=model, confidence=confidence, user_fix=user_fix)
    return server.send_form(query, {"file": None}, {"0": ["variables.file"]}, {"0": ("photo.jpg", photo())}).json()


def send_fixes(server: Server, contents: list[bytes], **others: dict[str, Any]) -> dict[str, Any]:
    """Save several; the input of number n has what `input_n` gives beside."""
    fix = {"file": None, "modelDegree": 90, "confidence": 0.5, "userFixDegree": 0}
    inputs = [{**fix, **others.get(f"input_{number}", {})} for number in range(len(contents))]
    places = {str(number): [f"variables.inputs.{number}.file"] for number in range(len(contents))}
    files = {str(number): (f"{number}.jpg", content) for number, content in enumerate(contents)}
    return server.send_form(SAVE_FIXES, {"inputs": inputs}, places, files).json()


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer["errors"]]


def picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 90, 10)).save(buffer, format)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of some bytes that says it has 400 million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2_501) * 20_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


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


@pytest.mark.parametrize(
    ("format", "extension", "content_type"), [("PNG", "png", "image/png"), ("WEBP", "webp", "image/webp")]
)
def test_the_bytes_and_not_the_name_say_what_a_picture_is(
    shared: Server, format: str, extension: str, content_type: str
) -> None:
    image = shared.save(picture(format), "photo.jpg")
    assert image["uuidFileName"].endswith(f".{extension}")
    assert image["contentType"] == content_type
    assert image["originalFileName"] == "photo.jpg"
    assert shared.get(image["url"]).headers["content-type"] == content_type


UNREADABLE = {
    "GIF": picture("GIF"),
    "BMP": picture("BMP"),
    "TIFF": picture("TIFF"),
    "text": b"not a picture",
    "a web page": b"<html><script>alert(1)</script></html>",
    "half a JPEG": photo(size=(640, 480))[:-2_000],
    "a JPEG without its end": photo()[:-2],
    "a JPEG's first bytes": b"\xff\xd8\xff",
    "half a PNG": picture("PNG")[:-40],
    "a PNG without its last byte": picture("PNG")[:-1],
    "a bomb": bomb(),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_whole_picture_of_a_known_kind_is_refused_and_leaves_nothing(shared: Server, kind: str) -> None:
    before = holdings(shared.settings)
    answer = shared.upload(UNREADABLE[kind], "photo.jpg")
    assert codes(answer) == ["IMAGE_UNREADABLE"]
    assert answer["data"] == {"saveFix": None}
    assert holdings(shared.settings) == before


def test_an_empty_file_is_refused_and_leaves_nothing(shared: Server) -> None:
    before = holdings(shared.settings)
    assert codes(shared.upload(b"")) == ["IMAGE_UNREADABLE"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("file", ["photo.jpg", 5, None, {}])
def test_an_upload_that_is_no_file_is_refused_and_changes_nothing(shared: Server, file: object) -> None:
    before = holdings(shared.settings)
    fix = {"file": file, "modelDegree": 0, "confidence": 1, "userFixDegree": 0}
    query = "mutation($input: SaveFixInput!) { saveFix(input: $input) { image { pk } } }"
    assert shared.codes(query, {"input": fix}) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


def test_a_file_of_the_limit_is_taken_and_one_byte_more_is_too_large(database_url: str, media_root: Path) -> None:
    content = photo()
    with running(settings_for(database_url, media_root, max_upload_bytes=len(content))) as server:
        server.save(content)
        before = holdings(server.settings)
        assert codes(server.upload(content + b"\x00")) == ["FILE_TOO_LARGE"]
        assert holdings(server.settings) == before


@pytest.mark.parametrize("engine", ["sqlite"])
def test_a_photo_that_is_too_large_leaves_nothing_where_the_folder_has_no_room_for_it_either(
    database_url: str, media_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network folders take what is written at first, and say so when the file is closed."""
    close = os.close

    def closing(descriptor: int) -> None:
        staged = STAGING in Path(f"/proc/self/fd/{descriptor}").readlink().parts
        close(descriptor)
        if staged:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(disk.os, "close", closing)
    with running(settings_for(database_url, media_root, max_upload_bytes=PIECE_BYTES)) as server:
        assert codes(server.upload(bytes(PIECE_BYTES + 1))) == ["FILE_TOO_LARGE"]
        assert not list((media_root / STAGING).iterdir())


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


# The folder is put out of order by other things in its place, for nothing is closed to root.


def assert_storage_is_away(server: Server) -> None:
    rows = ask(server.settings.database_url, "SELECT pk FROM image_info ORDER BY pk")
    answer = server.upload(photo())
    assert codes(answer) == ["STORAGE_UNAVAILABLE"]
    assert str(server.settings.media_root) not in str(answer)
    assert ask(server.settings.database_url, "SELECT pk FROM image_info ORDER BY pk") == rows


def test_a_disk_that_is_full_at_the_last_bytes_of_a_form_is_an_error_and_saves_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(tempfile.SpooledTemporaryFile[bytes]):
        large = False

        def rollover(self) -> None:
            super().rollover()
            self.large = True

        def seek(self, offset: int, whence: int = 0) -> int:
            if self.large:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().seek(offset, whence)

        def close(self) -> None:
            super().close()
            if self.large:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(multipart, "SpooledTemporaryFile", Full)
    large = photo("PNG", seed=2) + b" " * 2**20
    given = {"modelDegree": 90, "confidence": 0.75, "userFixDegree": 0, "file": None}
    answer = server.send_form(
        SAVE_FIXES,
        {"inputs": [given, given]},
        {"0": ["variables.inputs.0.file"], "1": ["variables.inputs.1.file"]},
        {"0": ("small.png", photo("PNG", seed=1)), "1": ("large.png", large)},
    )
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (503, "STORAGE_UNAVAILABLE")
    assert_whole(server.settings)
    assert files_in(server.settings.media_root) == {}


def test_without_the_media_folder_nothing_is_saved_until_it_is_back(server: Server) -> None:
    root = server.settings.media_root
    image = server.save(photo(seed=1))
    away = root.rename(root.with_name("away"))
    assert_storage_is_away(server)
    assert not root.exists()
    root.write_bytes(b"a file in its place")
    assert_storage_is_away(server)
    root.unlink()
    away.rename(root)
    assert server.get(image["url"]).content == photo(seed=1)
    server.save(photo(seed=2))
    assert_whole(server.settings)


def test_a_file_in_the_place_of_the_datasets_folder_leaves_neither_row_nor_file(server: Server) -> None:
    root = server.settings.media_root
    pk = server.data("{ untrained { pk } }")["untrained"]["pk"]
    (root / str(pk)).write_bytes(b"in the way")
    assert_storage_is_away(server)
    assert files_in(root) == {str(pk): b"in the way"}
    (root / str(pk)).unlink()
    server.save(photo())
    assert_whole(server.settings)


def test_a_file_in_the_place_of_the_staging_folder_leaves_no_row(server: Server) -> None:
    staging = server.settings.media_root / ".staging"
    staging.rmdir()
    staging.write_bytes(b"in the way")
    assert_storage_is_away(server)
    staging.unlink()
    server.save(photo())
    assert_whole(server.settings)


def test_the_log_says_once_for_each_answer_why_the_folder_cannot_be_used_and_what_to_do(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    root = server.settings.media_root
    image = server.save(photo())
    away = root.rename(root.with_name("away"))
    for ask_for in (lambda: server.upload(photo()), lambda: server.get(image["url"]), lambda: server.get("/readyz")):
        capsys.readouterr()
        ask_for()
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "storage unavailable" in line]
        assert re.search(rf"error.*put the folder back.*MEDIA_ROOT.*FileNotFoundError: .*{root}", line), line
    away.rename(root)
    server.save(photo())
    assert "storage unavailable" not in capsys.readouterr().out


def test_of_several_fixes_all_are_errors_while_the_folder_is_away(server: Server) -> None:
    root = server.settings.media_root
    away = root.rename(root.with_name("away"))
    answer = send_fixes(server, [photo(seed=1), photo(seed=2)])
    away.rename(root)
    assert answer["data"] == {"saveFixes": [None, None]}
    assert codes(answer) == ["STORAGE_UNAVAILABLE", "STORAGE_UNAVAILABLE"]
    assert_whole(server.settings)


def remove(server: Server, image: dict[str, Any]) -> None:
    query = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } } }"
    assert server.data(query, {"pk": image["pk"]}) == {"removeImage": {"image": {"pk": image["pk"]}}}


def test_an_image_is_removed_though_its_file_cannot_be_and_the_log_says_why(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    root = server.settings.media_root
    image = server.save(photo())
    folder = root / str(image["dataset"]["pk"])
    away = folder.rename(root / "away")
    folder.write_bytes(b"in the way")
    remove(server, image)
    folder.unlink()
    away.rename(folder)
    assert server.data("{ images { totalCount } }") == {"images": {"totalCount": 0}}
    assert re.search(rf"file left behind.*NotADirectoryError: .*{folder}", capsys.readouterr().out)


def test_an_image_is_removed_while_the_whole_folder_is_away_and_the_log_says_whose_file_is_left(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    root = server.settings.media_root
    first, second = server.save(photo(seed=1)), server.save(photo(seed=2))
    away = root.rename(root.with_name("away"))
    remove(server, first)
    away.rename(root)
    told = rf"warning.*file left behind.*image={first['pk']} reason=.*FileNotFoundError: .*{root}"
    assert re.search(told, capsys.readouterr().out)
    assert photo(seed=1) in files_in(root).values()
    (root / str(second["dataset"]["pk"])).rename(away)
    remove(server, second)
    assert "left behind" not in capsys.readouterr().out
