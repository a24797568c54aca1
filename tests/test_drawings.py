"""The demo's pictures, as somebody sees them who follows their labels."""

import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from graphql_server.demo.drawings import Drawing, drawings
from graphql_server.pictures import inspect

DRAWINGS = drawings()
ARROW = (32, 20, 62, 60)  # where an upright picture has the arrow of its mark, white on dark
each = pytest.mark.parametrize("drawing", DRAWINGS, ids=[drawing.file_name for drawing in DRAWINGS])


def shown(drawing: Drawing, turn: int) -> Image.Image:
    """What a viewer shows that heeds EXIF and then turns counter-clockwise."""
    with Image.open(BytesIO(drawing.content)) as picture:
        return ImageOps.exif_transpose(picture).rotate(turn, expand=True)


def points_up(picture: Image.Image) -> bool:
    """Whether the mark is in the top left corner: an arrow's tip, then its broad head, then its stem."""
    arrow = picture.convert("L").crop(ARROW)
    pixels = arrow.tobytes()
    white = [sum(p > 200 for p in pixels[i : i + arrow.width]) for i in range(0, len(pixels), arrow.width)]
    tip, middle, base, stem = white[9], white[14], white[21], white[30]
    return 0 < tip < middle < base and 0 < stem < middle


@each
def test_a_drawings_labels_and_no_other_turn_set_it_upright(drawing: Drawing) -> None:
    turn = drawing.model_degree + drawing.user_fix_degree
    assert [points_up(shown(drawing, turn + more)) for more in (0, 90, 180, 270)] == [True, False, False, False]


@each
def test_a_drawing_is_a_file_that_the_server_takes(drawing: Drawing, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(drawing.content)
    picture = inspect(path, max_pixels=640 * 480)
    assert Path(drawing.file_name).suffix.lower() == f".{picture.extension}"
    assert drawing.exif_degree in (None, picture.exif_degree)


def test_the_drawings_hold_every_format_and_both_sideways_cameras() -> None:
    opened = [Image.open(BytesIO(drawing.content)) for drawing in DRAWINGS]
    assert sorted(str(picture.format) for picture in opened) == ["JPEG"] * 6 + ["PNG", "WEBP"]
    assert {6, 8} <= {picture.getexif()[0x0112] for picture in opened}


def test_the_model_is_surer_where_it_is_right_than_where_it_is_wrong() -> None:
    right = [drawing.confidence for drawing in DRAWINGS if drawing.user_fix_degree % 360 == 0]
    wrong = [drawing.confidence for drawing in DRAWINGS if drawing.user_fix_degree % 360]
    assert (len(right), len(wrong)) == (5, 3)
    assert max(wrong) < min(right)


def test_the_drawings_are_small_and_soon_drawn() -> None:
    start = time.process_time()
    assert sum(len(drawing.content) for drawing in drawings()) < 600_000
    assert time.process_time() - start < 2
