"""What createDataset and removeImage keep, refuse and leave behind; saving is in test_uploads."""

from typing import Any

import pytest

from tests.holdings import ask, assert_whole, files_in, holdings
from tests.photos import photo
from tests.rows import IMAGE as IMAGE_ROW
from tests.rows import put_images
from tests.servers import SAVE_FIX, TOKEN, Server
from tests.together import CREATE, REMOVE, asking, at_once

IMAGE = """{ id pk originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree uprightDegree
  contentType width height byteSize sha256 createdAt savedBy { pk } dataset { pk } }"""
DATASET = "{ id pk title isUntrained createdAt sealedAt images { totalCount nodes { pk } } }"
INT_MAX = 2**31 - 1


def test_a_saved_fix_is_an_image_of_the_untrained_dataset(server: Server) -> None:
    content = photo(orientation=6)
    image = server.save(content, "IMG 1.jpg", modelDegree=360, confidence=0.5, userFixDegree=90)
    assert image["dataset"]["isUntrained"]
    assert (image["exifDegree"], image["modelDegree"], image["userFixDegree"]) == (270, 360, 90)
    assert image["uprightDegree"] == 90
    assert files_in(server.settings.media_root) == {f"{image['dataset']['pk']}/{image['uuidFileName']}": content}
    assert server.get(image["url"]).content == content
    assert server.data("{ datasets { nodes { title images(first: 10) { totalCount nodes { pk } } } } }") == {
        "datasets": {"nodes": [{"title": "untrained", "images": {"totalCount": 1, "nodes": [{"pk": image["pk"]}]}}]}
    }


def test_create_dataset_names_the_untrained_and_opens_a_fresh_one(server: Server) -> None:
    image = server.save(photo())
    data = server.data(
        'mutation { createDataset(input: {title: "  Lunch "}) {'
        " dataset { pk title isUntrained images { totalCount } }"
        " untrained { title images { totalCount } } } }"
    )["createDataset"]
    assert data["dataset"] == {
        "pk": image["dataset"]["pk"],
        "title": "Lunch",
        "isUntrained": False,
        "images": {"totalCount": 1},
    }
    assert data["untrained"]["title"] == "untrained"
    assert data["untrained"]["images"]["totalCount"] == 0


def test_an_image_tells_who_saved_it_by_the_user_servers_word(server: Server) -> None:
    whole = {"anna": {"pk": 12}, "ben": {"pk": 2**31 - 1}, "carl": {"pk": 0}}
    nobody = {"dora": {"name": "Dora"}, "emil": {"pk": 2**31}, "fay": {"pk": "13"}, "guy": {"pk": 2**63}}
    server.user_server.users.update(whole | nobody)
    for seed, token in enumerate([*whole, *nobody]):
        server.token = token
        server.save(photo(seed=seed))
    # A row that an older version, or the predecessor, has written.
    untrained = server.data("{ untrained { pk } }")["untrained"]["pk"]
    put_images(server, untrained, [IMAGE_ROW])
    images = server.data("{ images { nodes { savedBy { pk } } } }")["images"]["nodes"]
    assert [image["savedBy"] for image in images] == [*whole.values(), *[None] * (len(nobody) + 1)]


def test_an_image_that_is_given_back_was_saved_by_the_first(server: Server) -> None:
    server.user_server.users["anna"] = {"pk": 12}
    content, query = photo(), SAVE_FIX.replace("image {", "image { savedBy { pk }")
    for token, created in (("anna", 1), (TOKEN, 1)):
        server.token = token
        image = server.upload(content, query=query)["data"]["saveFix"]["image"]
        assert image["savedBy"] == {"pk": 12}
        assert server.data("{ images { totalCount } }") == {"images": {"totalCount": created}}


def test_naming_a_dataset_moves_no_file_and_the_next_save_goes_into_the_fresh_one(server: Server) -> None:
    before = server.save(photo(seed=1))
    created = server.data(CREATE, {"title": "Lunch"})["createDataset"]
    after = server.save(photo(seed=2))
    assert before["dataset"]["pk"] == created["dataset"]["pk"]
    assert after["dataset"] == {"pk": created["untrained"]["pk"], "title": "untrained", "isUntrained": True}
    assert server.get(before["url"]).content == photo(seed=1)
    assert set(files_in(server.settings.media_root)) == {
        f"{image['dataset']['pk']}/{image['uuidFileName']}" for image in (before, after)
    }


def test_what_create_dataset_answers_is_what_is_read_later(server: Server) -> None:
    server.save(photo())
    query = f'mutation {{ createDataset(input: {{title: "Lunch"}}) {{ dataset {DATASET} untrained {DATASET} }} }}'
    created = server.data(query)["createDataset"]
    read = server.data(f"{{ datasets {{ nodes {DATASET} }} untrained {DATASET} }}")
    assert read["datasets"]["nodes"] == [created["dataset"], created["untrained"]]
    assert read["untrained"] == created["untrained"]
    assert created["dataset"]["sealedAt"] == created["untrained"]["createdAt"] is not None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("\u00a0 Trimmed\t\n", "Trimmed"),
        ("a", "a"),
        ("x" * 100, "x" * 100),
        ("가" * 100, "가" * 100),
        ("\ufdfa" * 100, "\ufdfa" * 100),
        ("🍜" * 100, "🍜" * 100),
        # Each of these is three characters in the key by which titles are compared.
        ("ΐ" * 100, "ΐ" * 100),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("100 % %s %(title)s {0} ?", "100 % %s %(title)s {0} ?"),
        ("'; DROP TABLE dataset_info; -- \\", "'; DROP TABLE dataset_info; -- \\"),
        ("untrained 2", "untrained 2"),
        ("cre\u0300me", "crème"),
        ("creme", "creme"),
    ],
)
def test_a_title_is_kept_as_sent_but_for_outer_spaces_and_ways_of_writing_accents(
    shared: Server, sent: str, kept: str
) -> None:
    created = shared.data(CREATE, {"title": sent})["createDataset"]["dataset"]
    assert created["title"] == kept
    assert shared.data("query($pk: Int!) { dataset(pk: $pk) { title } }", {"pk": created["pk"]}) == {
        "dataset": {"title": kept}
    }


@pytest.mark.parametrize(
    "title",
    [
        "",
        "  \t\n",
        "\u3000",
        "x" * 101,
        "가" * 101,
        "untrained",
        "UnTrained",
        "  UNTRAINED\n",
        *(f"{unseen}{title}" for unseen in "\u3164\u115f\u2800\ufe0f\u180b\u034f" for title in ("", "untrained")),
        "\uff55\uff4e\uff54\uff52\uff41\uff49\uff4e\uff45\uff44",
        "two\nlines",
        "a\ttab",
        "nul\x00",
        "\x1b[31mred",
        "delete\x7f",
        "next line\x85!",
    ],
)
def test_a_title_that_cannot_be_one_is_refused_and_changes_nothing(shared: Server, title: str) -> None:
    before = holdings(shared.settings)
    assert shared.codes(CREATE, {"title": title}) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("variables", [{}, {"title": None}, {"title": 5}, {"title": ["Lunch"]}, {"title": {"a": 1}}])
def test_a_title_that_is_no_text_is_refused_and_changes_nothing(shared: Server, variables: dict[str, Any]) -> None:
    before = holdings(shared.settings)
    assert shared.codes(CREATE, variables) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize(
    ("taken", "title"),
    [
        ("Lunch", "Lunch"),
        ("Supper", "  sUPPER "),
        ("Café", "CAFE\u0301"),
        ("점심", "점심".encode().decode()),
        ("아침", "\u110b\u1161\u110e\u1175\u11b7"),
        ("Straße", "STRASSE"),
        ("Ελλάς", "ΕΛΛΆΣ"),
    ],
)
def test_a_title_that_is_taken_in_any_case_and_writing_is_a_conflict_and_changes_nothing(
    shared: Server, taken: str, title: str
) -> None:
    shared.data(CREATE, {"title": taken})
    before = holdings(shared.settings)
    assert shared.codes(CREATE, {"title": title}) == ["CONFLICT"]
    assert holdings(shared.settings) == before


def test_removed_images_are_gone_with_their_files_and_the_answer_tells_what_they_were(server: Server) -> None:
    saved = server.save(photo(), "IMG 1.jpg")
    query = f"mutation($pk: Int!) {{ removeImage(input: {{pk: $pk}}) {{ image {IMAGE} dataset {DATASET} }} }}"
    read = server.data(f"query($pk: Int!) {{ image(pk: $pk) {IMAGE} }}", {"pk": saved["pk"]})["image"]
    removed = server.data(query, {"pk": saved["pk"]})["removeImage"]
    assert removed["image"] == read
    assert removed["dataset"]["pk"] == saved["dataset"]["pk"]
    assert removed["dataset"]["images"] == {"totalCount": 0, "nodes": []}
    assert files_in(server.settings.media_root) == {}
    assert server.get(saved["url"]).status_code == 404
    assert server.data("query($pk: Int!) { image(pk: $pk) { pk } }", {"pk": saved["pk"]}) == {"image": None}


def test_an_image_is_removed_from_a_named_dataset_too_and_from_no_other(server: Server) -> None:
    gone, kept = server.save(photo(seed=1)), server.save(photo(seed=2))
    named = server.data(CREATE, {"title": "Lunch"})["createDataset"]["dataset"]
    server.save(photo(seed=3))
    assert server.data(REMOVE, {"pk": gone["pk"]})["removeImage"] == {
        "image": {"pk": gone["pk"]},
        "dataset": {"pk": named["pk"]},
    }
    left = server.data("{ images { nodes { pk } } }")["images"]["nodes"]
    assert [image["pk"] for image in left] == [kept["pk"], kept["pk"] + 1]
    assert_whole(server.settings)


@pytest.mark.parametrize("pk", [0, -1, 4_711, INT_MAX, -INT_MAX - 1])
def test_removing_an_image_that_does_not_exist_is_not_found_and_changes_nothing(shared: Server, pk: int) -> None:
    shared.save(photo())
    before = holdings(shared.settings)
    assert shared.codes(REMOVE, {"pk": pk}) == ["NOT_FOUND"]
    assert holdings(shared.settings) == before


@pytest.mark.parametrize("pk", ["1", 1.5, True, None, INT_MAX + 1])
def test_removing_by_what_is_no_key_is_refused_and_changes_nothing(shared: Server, pk: object) -> None:
    shared.save(photo())
    before = holdings(shared.settings)
    assert shared.codes(REMOVE, {"pk": pk}) == ["BAD_USER_INPUT"]
    assert holdings(shared.settings) == before


def test_an_image_is_removed_once_however_many_ask(server: Server) -> None:
    image = server.save(photo())
    assert server.data(REMOVE, {"pk": server.save(photo())["pk"]})
    answers = at_once(server, [asking(REMOVE, pk=image["pk"])] * 8)
    assert sum("errors" not in answer for answer in answers) == 1
    refused = [answer["errors"] for answer in answers if "errors" in answer]
    assert [[error["extensions"]["code"] for error in errors] for errors in refused] == [["NOT_FOUND"]] * 7
    assert server.codes(REMOVE, {"pk": image["pk"]}) == ["NOT_FOUND"]
    assert_whole(server.settings)


def test_the_key_of_a_removed_image_is_not_given_to_another(server: Server) -> None:
    last = server.save(photo())
    server.data(REMOVE, {"pk": last["pk"]})
    assert server.save(photo())["pk"] > last["pk"]


def test_an_image_whose_file_is_missing_can_be_removed(server: Server) -> None:
    image = server.save(photo())
    (server.settings.media_root / str(image["dataset"]["pk"]) / image["uuidFileName"]).unlink()
    assert server.data(REMOVE, {"pk": image["pk"]})["removeImage"]["image"] == {"pk": image["pk"]}
    assert_whole(server.settings)


@pytest.mark.parametrize("name", ["../1/other.jpg", "/etc/passwd", "photo.gif", "", "가.jpg"])
def test_a_row_whose_file_name_is_no_pictures_can_be_removed_and_no_other_file_is_touched(
    server: Server, name: str
) -> None:
    saved = server.save(photo())
    bystander = server.settings.media_root / "1" / "other.jpg"
    bystander.parent.mkdir(exist_ok=True)
    bystander.write_bytes(b"bystander")
    ask(
        server.settings.database_url,
        "INSERT INTO image_info (pk, dataset_info_pk, uuid_file_name) VALUES (?, ?, ?)",
        args=(900_000, saved["dataset"]["pk"], name),
    )
    assert server.data(REMOVE, {"pk": 900_000})["removeImage"]["image"] == {"pk": 900_000}
    assert bystander.read_bytes() == b"bystander"
    assert server.get(saved["url"]).status_code == 200


def test_the_mutations_of_one_request_run_in_order_and_each_sees_the_one_before(server: Server) -> None:
    first = server.save(photo(seed=1))
    counted = "dataset { pk title images { totalCount } }"
    fix = "{file: $file, modelDegree: 0, confidence: 1, userFixDegree: 0, onDuplicate: ALLOW}"
    query = f"""mutation($file: Upload!, $pk: Int!) {{
      before: saveFix(input: {fix}) {{ image {{ {counted} }} }}
      lunch: createDataset(input: {{title: "Lunch"}}) {{
        {counted} untrained {{ pk images {{ totalCount }} }}
        same: dataset {{ images {{ nodes {{ dataset {{ title }} }} }} }}
      }}
      gone: removeImage(input: {{pk: $pk}}) {{ {counted} }}
      taken: createDataset(input: {{title: "lunch"}}) {{ {counted} }}
      after: saveFix(input: {fix}) {{ image {{ {counted} }} }}
      again: saveFix(input: {fix}) {{ image {{ {counted} }} }}
      last: saveFixes(inputs: [{fix}]) {{ image {{ {counted} }} }}
    }}"""
    places, files = {"0": ["variables.file"]}, {"0": ("photo.jpg", photo(seed=2))}
    answer = server.send_form(query, {"file": None, "pk": first["pk"]}, places, files).json()
    data, lunch = answer["data"], first["dataset"]["pk"]
    assert data["before"]["image"]["dataset"] == {"pk": lunch, "title": "untrained", "images": {"totalCount": 2}}
    assert data["lunch"]["dataset"] == {"pk": lunch, "title": "Lunch", "images": {"totalCount": 2}}
    assert [node["dataset"]["title"] for node in data["lunch"]["same"]["images"]["nodes"]] == ["Lunch"] * 2
    assert data["gone"]["dataset"] == {"pk": lunch, "title": "Lunch", "images": {"totalCount": 1}}
    assert data["taken"] is None
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [(["taken"], "CONFLICT")]
    fresh = data["lunch"]["untrained"]
    assert fresh["images"]["totalCount"] == 0
    for count, saved in enumerate((data["after"], data["again"], *data["last"]), start=1):
        assert saved["image"]["dataset"] == {**fresh, "title": "untrained", "images": {"totalCount": count}}
    assert_whole(server.settings)


def test_a_change_is_made_once_where_what_it_gives_cannot_be_told(server: Server) -> None:
    kept = server.save(photo())["dataset"]["pk"]
    pk, *_ = put_images(server, kept, [{"byte_size": 2**40}] * 3)
    query = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk byteSize } dataset { pk } } }"
    told = server.result(query, {"pk": pk})
    assert told["data"] == {"removeImage": {"image": {"pk": pk, "byteSize": None}, "dataset": {"pk": kept}}}
    assert [error["path"] for error in told["errors"]] == [["removeImage", "image", "byteSize"]]
    assert server.data("{ images { totalCount } }")["images"]["totalCount"] == 3


def test_a_mutation_that_is_not_valid_keeps_the_whole_request_from_running(server: Server) -> None:
    before = holdings(server.settings)
    assert server.codes(
        'mutation { createDataset(input: {title: "Lunch"}) { untrained { pk } } removeImage(input: {}) { nothing } }'
    )
    assert server.codes(f"{SAVE_FIX} mutation Other {{ createDataset(input: {{title: 5}}) {{ untrained {{ pk }} }} }}")
    assert holdings(server.settings) == before


def test_a_title_that_is_empty_and_one_that_is_too_long_are_told_apart(server: Server) -> None:
    messages = [server.result(CREATE, {"title": title})["errors"][0]["message"] for title in ("\u3164", "x" * 101)]
    assert "seen" in messages[0]
    assert "101" in messages[1]


def test_without_an_untrained_dataset_the_operator_is_sent_to_the_doctor(server: Server) -> None:
    ask(server.settings.database_url, "DELETE FROM dataset_info")
    results = [server.result("{ untrained { pk } }"), server.upload(photo()), server.result(CREATE, {"title": "Lunch"})]
    for result in results:
        (error,) = result["errors"]
        assert error["extensions"]["code"] == "DATABASE_UNAVAILABLE"
        assert "graphql-server doctor --repair" in error["message"]
