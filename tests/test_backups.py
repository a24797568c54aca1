"""Copies of the database and of the folder that docs/operating.md has operators make while the server runs."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.doctor import HOLDS, Doctor, place
from tests.photos import photo
from tests.servers import Server, running, settings_for
from tests.together import REMOVE


def copy(database_url: str, to: Path) -> str:
    """What sqlite3's `.backup` does; gives the copy's address."""
    file = database_url.removeprefix("sqlite://")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return f"sqlite://{to}"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_copy_of_the_database_and_then_of_the_folder_lacks_only_what_was_removed_in_between(
    server: Server, doctor: Doctor, tmp_path: Path
) -> None:
    content = photo()
    kept, removed = server.save(content), server.save(photo())
    url, root = copy(server.settings.database_url, tmp_path / "copy.db"), tmp_path / "copy"
    server.data(REMOVE, {"pk": removed["pk"]})
    later = server.save(photo())
    server.data('mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }')
    shutil.copytree(server.settings.media_root, root)

    outcome = doctor("--repair", "--grace", "0", url=url, root=root)
    assert outcome.wrong == {**HOLDS, "every image has its file": 1, "every file has its image": 1}
    assert f"image {removed['pk']}: " in outcome.text
    assert not place(root, later).exists()
    with running(settings_for(url, root)) as restored:
        image = restored.data("query($pk: Int!) { image(pk: $pk) { url } }", {"pk": kept["pk"]})["image"]
        assert restored.get(image["url"]).content == content
        restored.data(REMOVE, {"pk": removed["pk"]})
    assert doctor(url=url, root=root).wrong == HOLDS
