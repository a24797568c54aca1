"""What the mutations keep, refuse and leave behind."""

from pathlib import Path

from tests.photos import photo
from tests.servers import Server


def files_in(media_root: Path) -> set[str]:
    return {str(path.relative_to(media_root)) for path in media_root.rglob("*") if path.is_file()}


def test_a_saved_fix_is_an_image_of_the_untrained_dataset(server: Server, media_root: Path) -> None:
    content = photo(orientation=6)
    image = server.save(content, "IMG 1.jpg", modelDegree=360, confidence=0.5, userFixDegree=90)
    assert image["dataset"]["isUntrained"]
    assert (image["exifDegree"], image["modelDegree"], image["userFixDegree"]) == (270, 360, 90)
    assert image["uprightDegree"] == 90
    assert files_in(media_root) == {f"{image['dataset']['pk']}/{image['uuidFileName']}"}
    served = server.get(image["url"])
    assert served.content == content
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


def test_a_removed_image_is_gone_with_its_file(server: Server, media_root: Path) -> None:
    image = server.save(photo())
    query = (
        "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } dataset { pk images { totalCount } } } }"
    )
    removed = server.data(query, {"pk": image["pk"]})["removeImage"]
    assert removed == {
        "image": {"pk": image["pk"]},
        "dataset": {"pk": image["dataset"]["pk"], "images": {"totalCount": 0}},
    }
    assert files_in(media_root) == set()
    assert server.get(image["url"]).status_code == 404
    assert server.codes(query, {"pk": image["pk"]}) == ["NOT_FOUND"]
