"""A sheet to draw flat pictures on, with soft edges and a mark that tells which way is up."""

import math

from PIL import Image, ImageDraw, ImageFont

SCALE = 3  # drawn this much larger and then reduced, because ImageDraw leaves edges jagged
WIDE, TALL = (640, 480), (480, 640)
INK, SHADE, LIGHT = "#20263a", "#00000022", "#ffffff2e"

Point = tuple[float, float]


class Canvas:
    """A sheet with a table on it; the origin is its middle, x grows to the right and y downwards, in pixels."""

    def __init__(self, size: tuple[int, int], background: str) -> None:
        self._image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), background)
        # In this mode colours with an alpha are laid over what is there.
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._middle = size[0] / 2, size[1] / 2
        self._stage()

    def _at(self, *points: Point) -> list[Point]:
        return [((x + self._middle[0]) * SCALE, (y + self._middle[1]) * SCALE) for x, y in points]

    def oval(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        self._draw.ellipse(self._at((x - rx, y - ry), (x + rx, y + ry)), fill)

    def half(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        """Draw the lower half of an oval, or with a negative `ry` the upper one."""
        start = 0 if ry > 0 else 180
        box = self._at((x - rx, y - abs(ry)), (x + rx, y + abs(ry)))
        self._draw.chord(box, start, start + 180, fill)

    def bar(self, x: float, y: float, rx: float, ry: float, fill: str, radius: float = 8) -> None:
        """Draw a box with round corners about its middle."""
        box = self._at((x - rx, y - ry), (x + rx, y + ry))
        self._draw.rounded_rectangle(box, radius * SCALE, fill)

    def shape(self, fill: str, *points: Point) -> None:
        self._draw.polygon(self._at(*points), fill)

    def blob(self, fill: str, *points: Point) -> None:
        """Draw what a smooth line through the points encloses."""
        self.shape(fill, *_spline(points[-1], *points, *points[:2]))

    def curve(self, fill: str, width: float, *points: Point) -> None:
        """Draw a smooth line with round ends as a string of discs; the colour must have no alpha."""
        for x, y in [*_spline(points[0], *points, points[-1]), points[-1]]:
            self.oval(x, y, width / 2, width / 2, fill)

    def finish(self) -> Image.Image:
        """Mark which way is up and give the picture in its size."""
        self._mark()
        return self._image.reduce(SCALE)

    def _stage(self) -> None:
        width, height = self._middle
        self.oval(0, 0, 215, 215, LIGHT)
        self.shape(SHADE, (-width, 150), (width, 150), (width, height), (-width, height))

    def _mark(self) -> None:
        x, y = 70 - self._middle[0], 42 - self._middle[1]
        self.bar(x, y, 50, 24, INK, radius=24)
        self.shape("white", (x - 23, y - 15), (x - 37, y + 1), (x - 9, y + 1))
        self.bar(x - 23, y + 5, 4.5, 9, "white", radius=2)
        font = ImageFont.load_default(size=27 * SCALE)
        self._draw.text(self._at((x + 16, y))[0], "UP", "white", font, anchor="mm")


def _spline(*points: Point) -> list[Point]:
    """Give the points, about a pixel apart, of a smooth line from the second to the last but one."""
    line: list[complex] = []
    knots = [complex(*point) for point in points]
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        steps = math.ceil(abs(c - b)) or 1
        for t in (step / steps for step in range(steps)):
            bend = (c - a) + (2 * a - 5 * b + 4 * c - d) * t + (3 * b - a - 3 * c + d) * t * t
            line.append(b + bend * t / 2)
    return [(point.real, point.imag) for point in line]
