"""The demo's pictures: drawn when it starts, then turned away so that their labels are true."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePath

from PIL import Image

from graphql_server.demo import food
from graphql_server.pictures import ORIENTATION, TURNS


@dataclass(frozen=True)
class Drawing:
    """A picture with a reviewer's answer to it; degrees are counter-clockwise, confidence is from 0 to 1.

    Without an `exif_degree` the server reads it from the file.
    """

    file_name: str
    content: bytes
    exif_degree: int | None
    model_degree: int
    confidence: float
    user_fix_degree: int


def drawings() -> list[Drawing]:
    """Draw them all; the model is right about five of them."""
    return [
        _photo("떡볶이.jpg", food.tteokbokki, 360, 0.9987, exif_degree=0),
        _photo("IMG_20231104_121530.jpg", food.pizza, 90, 0.5378, 180, orientation=6),
        _photo("DSC01234.JPG", food.burger, 270, 0.9634),
        _photo("sushi-lunch.webp", food.sushi, 180, 0.9412),
        _photo("Screenshot_20231019-190244.png", food.fried_egg, 360, 0.6142, 270),
        _photo("IMG_0042.JPG", food.cupcake, 360, 0.9821, orientation=6, exif_degree=270),
        _photo("KakaoTalk_20231022_184512345.jpg", food.salad, 180, 0.4719, 180),
        _photo("PXL_20231105_134530123.jpg", food.ice_cream, 90, 0.8896, orientation=8),
    ]


def _photo(
    file_name: str,
    upright: Callable[[], Image.Image],
    model_degree: int,
    confidence: float,
    user_fix_degree: int = 0,
    orientation: int = 1,
    exif_degree: int | None = None,
) -> Drawing:
    # Whoever follows the labels turns it the other way, by as much, and has the upright picture again.
    turn = TURNS.get(orientation, 0) + model_degree + user_fix_degree
    exif, content = Image.Exif(), BytesIO()
    exif[ORIENTATION] = orientation
    kind = Image.registered_extensions()[PurePath(file_name).suffix.lower()]
    upright().rotate(-turn, expand=True).save(content, kind, quality=90, exif=exif)
    return Drawing(file_name, content.getvalue(), exif_degree, model_degree, confidence, user_fix_degree)
