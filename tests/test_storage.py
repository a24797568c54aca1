"""What is told and kept while the folder of pictures is full or away.

It is put out of order by other things in its place, for nothing is closed to root.
"""

import errno
import os
import re
import tempfile
from typing import Any

import pytest

from graphql_server.http import multipart
from tests.fixes import SAVE_FIXES, send_fixes
from tests.front_door import codes
from tests.holdings import ask, assert_whole, files_in
from tests.photos import photo
from tests.servers import Server


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
