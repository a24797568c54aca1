"""What a server keeps, read from its database and its folder and not through the server."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from graphql_server.settings import Settings
from tests import mysql

TALLIES = "SELECT dataset_info_pk, SUM(images) FROM image_tally GROUP BY dataset_info_pk HAVING SUM(images) <> 0"
IMAGES = "SELECT pk, dataset_info_pk, uuid_file_name, byte_size, sha256 FROM image_info ORDER BY pk"


def ask(url: str, *texts: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run statements on a database of either kind, `?` marks an argument; gives the last one's rows."""
    if url.startswith("mysql://"):
        return mysql.statements(url, *(text.replace("?", "%s") for text in texts), args=args)
    with closing(sqlite3.connect(url.removeprefix("sqlite://"), isolation_level=None)) as connection:
        return [connection.execute(text, args).fetchall() for text in texts][-1]


def files_in(media_root: Path) -> dict[str, bytes]:
    """Every file below the folder, also what is only staged, by its path from there."""
    found: dict[str, bytes] = {}
    for path in media_root.rglob("*"):
        with suppress(FileNotFoundError):  # a server at work has removed it meanwhile
            if path.is_file():
                found[str(path.relative_to(media_root))] = path.read_bytes()
    return found


def holdings(settings: Settings) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], dict[str, bytes]]:
    """All that is kept, to compare with what is kept later: datasets, images, files."""
    datasets = ask(settings.database_url, "SELECT pk, title, untrained FROM dataset_info ORDER BY pk")
    return datasets, ask(settings.database_url, IMAGES), files_in(settings.media_root)


def assert_whole(settings: Settings) -> None:
    """Every row has its file, every file its row, nothing is half done, and one dataset is untrained."""
    datasets, images, files = holdings(settings)
    assert [title for _, title, untrained in datasets if untrained] == ["untrained"]
    assert {dataset_pk for _, dataset_pk, *_ in images} <= {pk for pk, *_ in datasets}
    rows = {f"{dataset_pk}/{name}": (size, digest) for _, dataset_pk, name, size, digest in images}
    assert len(rows) == len(images)
    tallies = {pk: int(number) for pk, number in ask(settings.database_url, TALLIES)}
    counted = Counter(dataset_pk for _, dataset_pk, *_ in images)
    assert tallies == (counted | {2**31: len(images)} if images else {})
    assert rows == {path: (len(content), hashlib.sha256(content).hexdigest()) for path, content in files.items()}
