"""What every client does in its example, and must have seen."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.photos import photo
from tests.rows import Reader, put_images, serving, untrained_pk

NAMES = [f"{number}.jpg" for number in range(8)]


@contextmanager
def served(request: pytest.FixtureRequest, folder: Path, **settings: Any) -> Generator[Reader]:
    """A server with eight images, which make three pages."""
    folder.mkdir(exist_ok=True)
    with serving("sqlite", request, folder, **settings) as server:
        put_images(server, untrained_pk(server), [{"original_file_name": name} for name in NAMES])
        (folder / "photo.jpg").write_bytes(photo())
        yield server


def told(server: Reader, folder: Path) -> dict[str, str]:
    """The variables that the examples ask for."""
    return {"GRAPHQL_URL": f"{server.url}/graphql", "TOKEN": str(server.token), "PHOTO": str(folder / "photo.jpg")}


def assert_at_home(seen: dict[str, Any]) -> None:
    """A client has asked, paged to the end, saved a photo, and read the codes of three errors."""
    assert seen == {
        "title": "untrained",
        "pages": 3,
        "names": NAMES,
        "saved": {"originalFileName": "lunch.jpg", "byteSize": len(photo())},
        "wrong": "BAD_USER_INPUT",
        "missing": "NOT_FOUND",
        "stranger": "UNAUTHENTICATED",
    }
