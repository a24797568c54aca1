"""A predecessor's database and media folder, as its own script and its servers left them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import mysql
from tests.photos import photo

DATASETS = """CREATE TABLE dataset_info (
  pk INTEGER AUTO_INCREMENT, title VARCHAR(100), PRIMARY KEY (pk)
) DEFAULT CHARSET=utf8mb3"""
IMAGES_TABLE = """CREATE TABLE image_info (
  pk INTEGER AUTO_INCREMENT, dataset_info_pk INTEGER, original_file_name VARCHAR(40), uuid_file_name VARCHAR(40),
  exif_degree INTEGER, model_degree INTEGER, confidence DOUBLE, user_fix_degree INTEGER, PRIMARY KEY (pk)
) DEFAULT CHARSET=utf8mb3"""
TABLES = (DATASETS, IMAGES_TABLE)
TITLES = {
    1: "Lunch",
    2: "점심",
    3: "untrained",  # two who named the dataset at once left this one behind
    4: "Lunch",
    5: "",
    6: None,
    8: " LUNCH ",
    9: "untrained",
    12: "untrained",
}
UNTRAINED = 12


def name(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000.jpg"


# pk: dataset, original name, stored name, EXIF, model, confidence, user fix
IMAGES: dict[int, tuple[Any, ...]] = {
    1: (1, "IMG_1.jpg", name(1), 0, 360, 0.870000004768372, 90),
    2: (1, "점심.jpg", name(2), 270, 90, 0.0, 0),
    3: (3, "../../x", name(3), 180, 45, -1.0, -90),
    5: (4, "n" * 40, name(5), 0, 2_147_483_647, 1e38, -2_147_483_648),
    6: (5, "", name(6), None, None, None, None),
    7: (6, None, name(7), 0, 0, 1.0, 0),
    9: (12, "png.jpg", name(9), 0, 270, 0.5, 360),
    10: (77, "orphan.jpg", name(10), 0, 90, 0.5, 0),
    11: (77, "orphan too.jpg", name(11), 0, 90, 0.5, 0),
    12: (None, "nowhere.jpg", name(12), 0, 90, 0.5, 0),
    13: (0, "zero.jpg", name(13), 0, 90, 0.5, 0),
    40: (12, "gone.jpg", name(40), 0, 90, 0.5, 0),  # its file was lost
}


def fill(url: str, media_root: Path) -> dict[str, bytes]:
    """Make the tables, rows and files; gives the files' bytes by path."""
    mysql.statements(url, *TABLES)
    insert(url, "dataset_info", list(TITLES.items()))
    insert(url, "image_info", [(pk, *row) for pk, row in IMAGES.items()])
    files: dict[str, bytes] = {}
    for pk, (dataset_pk, _, stored, *_) in IMAGES.items():
        if pk != 40 and dataset_pk:
            files[f"{dataset_pk}/{stored}"] = photo("PNG" if pk == 9 else "JPEG", seed=pk)
    for path, content in files.items():
        (media_root / path).parent.mkdir(parents=True, exist_ok=True)
        (media_root / path).write_bytes(content)
    return files


def insert(url: str, table: str, rows: Sequence[Sequence[Any]]) -> None:
    marks = ", ".join("(" + ", ".join("%s" for _ in row) + ")" for row in rows)
    mysql.statements(url, f"INSERT INTO {table} VALUES {marks}", args=[value for row in rows for value in row])
