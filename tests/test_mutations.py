"""What the mutations keep, refuse and leave behind."""

import hashlib
import io
import struct
import unicodedata
import zlib
from collections.abc import Generator
from typing import Any

import pytest
from PIL import Image

from tests import mysql
from tests.holdings import ask, assert_whole, files_in, holdings
from tests.photos import photo
from tests.servers import SAVE_FIX, Server, running, settings_for
from tests.together import CREATE, REMOVE, asking, at_once

IMAGE = """{ id pk originalFileName uuidFileName exifDegree modelDegree confidence userFixDegree uprightDegree
  url contentType width height byteSize sha256 createdAt dataset { pk title isUntrained } }"""
DATASET = "{ id pk title isUntrained createdAt sealedAt images { totalCount nodes { pk } } }"
SAVE_FIXES = """
mutation($inputs: [SaveFixInput!]!) {
  saveFixes(inputs: $inputs) { image { pk originalFileName sha256 dataset { isUntrained } } }
}"""
INT_MAX = 2**31 - 1


@pytest.fixture(scope="module", params=["sqlite", "mysql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server for tests that look at nothing but their own answer, or at whether anything has changed."""
    folder = tmp_path_factory.mktemp("shared")
    url = f"sqlite://{folder / 'test.db'}"
    if request.param == "mysql":
        url = request.getfixturevalue("migrated_mysql")
        mysql.empty(url)
    else:
        migrate(url)
    with running(settings_for(url, folder / "media")) as server:
        yield server
