"""Rows of the predecessor, which know less than ours and may hold any number, as they are read."""

from tests import mysql
from tests.holdings import ask
from tests.photos import photo
from tests.rows import global_id, put, put_datasets, put_images, untrained_pk
from tests.servers import Server, running

IMAGE = """query($pk: Int!) { image(pk: $pk) {
  id pk originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree uprightDegree
  url contentType width height byteSize sha256 createdAt dataset { pk title isUntrained createdAt sealedAt }
} }"""


def test_what_the_predecessor_did_not_record_is_null(server: Server) -> None:
    (dataset,) = put_datasets(server, [None])
    (pk,) = put(server, "image_info", [{"dataset_info_pk": dataset, "uuid_file_name": "a.jpg"}])
    image = server.data(IMAGE, {"pk": pk})["image"]
    assert image.pop("url").startswith(f"/media/{dataset}/a.jpg")
    assert image == {
        "id": global_id(f"Image:{pk}"),
        "pk": pk,
        "originalFileName": "",
        "uuidFileName": "a.jpg",
        "dataset": {"pk": dataset, "title": "", "isUntrained": False, "createdAt": None, "sealedAt": None},
    } | dict.fromkeys(
        (
            "exifDegree",
            "modelDegree",
            "confidence",
            "userFixDegree",
            "uprightDegree",
            "contentType",
            "width",
            "height",
            "byteSize",
            "sha256",
            "createdAt",
        )
    )


def test_numbers_that_the_predecessor_took_are_given_as_they_are(server: Server) -> None:
    dataset = untrained_pk(server)
    least, most = -(2**31), 2**31 - 1
    kept = [
        # exif, model, user fix, confidence, and upright, which is of 0 to 359.
        (45, 360, 90, 1e38, 90),
        (-90, 45, -90, -1.0, 315),
        (1000, -90, 0, 0.870000004768372, 270),
        (least, most, most, 5e-324, (most + most) % 360),
        (most, least, least, 1.7976931348623157e308, (least + least) % 360),
        (0, None, 90, 0.1 + 0.2, None),
        (None, 90, None, None, None),
    ]
    columns = ("exif_degree", "model_degree", "user_fix_degree", "confidence")
    put_images(server, dataset, [dict(zip(columns, row[:4], strict=True)) for row in kept])
    fields = "exifDegree modelDegree userFixDegree confidence uprightDegree"
    for order in ("CREATED_AT", "CONFIDENCE"):
        query = f"{{ images(orderBy: {{field: {order}}}) {{ nodes {{ {fields} }} }} }}"
        nodes = server.data(query)["images"]["nodes"]
        found = [tuple(node[name] for name in fields.split()) for node in nodes]
        assert sorted(found, key=repr) == sorted(kept, key=repr)


def test_a_value_is_looked_at_where_its_column_takes_others(server: Server) -> None:
    url, dataset = server.settings.database_url, untrained_pk(server)
    wide: int | str = "wide"  # SQLite takes a text in any column
    if url.startswith("mysql"):
        ask(url, "ALTER TABLE image_info MODIFY width BIGINT NULL, MODIFY height VARCHAR(8) NULL")
        wide = 2**40
    try:
        put_images(server, dataset, [{"width": 3, "height": "4"}, {"width": wide, "height": "tall"}])
        with running(server.settings) as other:
            # Apart, since with one wrong value all is left to graphql-core.
            answers = [other.result(f"{{ images {{ nodes {{ {name} }} }} }}") for name in ("width", "height")]
    finally:
        if url.startswith("mysql"):
            mysql.empty(url)
            ask(url, "ALTER TABLE image_info MODIFY width INT NULL, MODIFY height INT NULL")
    for answer, name, number in zip(answers, ("width", "height"), (3, 4), strict=True):
        assert answer["data"]["images"]["nodes"] == [{name: number}, {name: None}]
        assert [error["path"] for error in answer["errors"]] == [["images", "nodes", 1, name]]


def test_an_image_without_a_file_name_breaks_no_page(server: Server) -> None:
    dataset = untrained_pk(server)
    pks = put(
        server, "image_info", [{"dataset_info_pk": dataset, "uuid_file_name": name} for name in (None, "", "a.jpg")]
    )
    nodes = server.data("{ images { nodes { pk uuidFileName url } } }")["images"]["nodes"]
    assert [(node["pk"], node["uuidFileName"]) for node in nodes] == list(zip(pks, ("", "", "a.jpg"), strict=True))


def test_saved_images_stand_beside_the_predecessors(server: Server) -> None:
    (old,) = put_images(server, untrained_pk(server), [{"confidence": None}])
    new = server.save(photo(), modelDegree=270, userFixDegree=180)
    nodes = server.data("{ images { nodes { pk uprightDegree createdAt } } }")["images"]["nodes"]
    assert nodes == [
        {"pk": old, "uprightDegree": 0, "createdAt": None},
        {"pk": new["pk"], "uprightDegree": 90, "createdAt": new["createdAt"]},
    ]
