"""Dishes, seen from the side, upright; every number is a place or a size on the canvas."""

import math

from PIL.Image import Image

from graphql_server.demo.canvas import SHADE, TALL, WIDE, Canvas


def _steam(canvas: Canvas, fill: str, bottom: float) -> None:
    for x, height in (-75, 88), (0, 118), (75, 88):
        wave = [(x + 10 * math.sin(part * 0.75), bottom - height * part / 12) for part in range(13)]
        canvas.curve(fill, 11, *wave)


def tteokbokki() -> Image:
    canvas = Canvas(WIDE, "#f2b84b")
    canvas.oval(0, 178, 150, 16, SHADE)
    canvas.bar(0, 160, 66, 18, "#1d3557")
    canvas.half(0, 10, 192, 158, "#27476e")
    canvas.oval(0, 10, 192, 50, "#f1faee")
    canvas.oval(0, 14, 176, 41, "#c1121f")
    for x, y, tilt in (-112, 8, -9), (-52, 34, 6), (-30, -4, 9), (62, 38, -7), (122, 14, 10), (38, 6, -8):
        canvas.curve("#9d0208", 25, (x - 30, y + tilt + 5), (x + 30, y - tilt + 5))
        canvas.curve("#ffb38a", 23, (x - 30, y + tilt), (x + 30, y - tilt))
        canvas.curve("#ffd6ba", 6, (x - 26, y + tilt - 5), (x + 22, y - tilt - 5))
    for x, y in (-84, 26), (2, 22), (86, 6), (-70, -10), (14, 44), (88, 30):
        canvas.oval(x, y, 8, 6, "#70c14a")
        canvas.oval(x, y, 3, 2, "#2b9348")
    _steam(canvas, "#fff3d6", -62)
    return canvas.finish()


def pizza() -> Image:
    canvas = Canvas(WIDE, "#2a9d8f")
    canvas.shape("#e09f3e", (-168, -122), (168, -122), (0, 206))
    canvas.shape("#ffd166", (-150, -122), (150, -122), (0, 186))
    for x, y, drop in (-98, 0, 50), (-52, 80, 66), (62, 70, 52), (112, -20, 46):
        canvas.curve("#ffd166", 24, (x, y), (x, y + drop))
    for x, y, r in (-76, -46, 34), (58, -36, 36), (-18, 34, 32), (8, 116, 20):
        canvas.oval(x, y, r, r, "#9d2a1f")
        canvas.oval(x, y, r - 5, r - 5, "#d1495b")
        canvas.oval(x - r / 4, y - r / 4, r / 6, r / 6, "#e88b92")
    for x, y, s in (-12, -62, 1), (34, 34, -1), (-52, 18, -1):
        canvas.blob("#3a7d44", (x - 20 * s, y - 9), (x, y - 12), (x + 20 * s, y + 9), (x, y + 8))
    canvas.curve("#b5651d", 54, (-158, -112), (0, -140), (158, -112))
    canvas.curve("#d98c3f", 44, (-158, -116), (0, -144), (158, -116))
    canvas.curve("#efb467", 9, (-140, -132), (0, -157), (90, -146))
    return canvas.finish()


def burger() -> Image:
    canvas = Canvas(WIDE, "#5fa8d3")
    canvas.oval(0, 182, 190, 16, SHADE)
    canvas.bar(0, 150, 160, 32, "#d98b35", radius=30)
    canvas.bar(0, 96, 172, 28, "#5e3023", radius=26)
    canvas.shape("#ffc83d", (-168, 68), (168, 68), (96, 98), (56, 72), (-10, 112), (-70, 72), (-120, 90))
    canvas.bar(0, 50, 158, 15, "#e63946", radius=14)
    wave = [(x, 32 + 11 * (-1) ** (x // 30)) for x in range(-180, 181, 30)]
    canvas.curve("#6ab04c", 20, *[(float(x), y) for x, y in wave])
    canvas.half(0, 22, 168, -138, "#e8a04c")
    canvas.bar(0, 16, 168, 12, "#e8a04c", radius=12)
    canvas.curve("#f3bd78", 14, (-128, -26), (-96, -66), (-50, -90))
    for x, y in (-70, -46), (-20, -80), (-8, -34), (44, -66), (62, -22), (104, -34), (-112, -10):
        canvas.oval(x, y, 10, 6, "#fff1d0")
    canvas.bar(0, -150, 3, 40, "#7f5539", radius=2)
    canvas.shape("#e63946", (3, -192), (76, -170), (3, -148))
    return canvas.finish()


def _nigiri(canvas: Canvas, x: float, topping: str, light: str) -> None:
    canvas.bar(x, 84, 66, 32, "#ffffff", radius=26)
    for dx, dy in (-44, 88), (-22, 102), (4, 92), (28, 104), (46, 88):
        canvas.oval(x + dx, dy, 7, 3.5, "#e3e3ea")
    canvas.blob(topping, (x - 80, 76), (x - 62, 26), (x, 10), (x + 62, 26), (x + 80, 76), (x, 58))
    for dx in -44, -10, 24:
        canvas.curve(light, 6, (x + dx, 50), (x + dx + 16, 24))


def sushi() -> Image:
    canvas = Canvas(WIDE, "#3d5a80")
    canvas.oval(0, 184, 240, 14, SHADE)
    for x in -170, 170:
        canvas.bar(x, 160, 26, 22, "#7f4f24", radius=4)
    canvas.bar(0, 132, 262, 18, "#b0793f")
    canvas.bar(0, 121, 262, 6, "#c9955a", radius=6)
    _nigiri(canvas, -164, "#ff7f51", "#ffc2a6")
    _nigiri(canvas, 164, "#ffd23f", "#ffe69a")
    canvas.bar(164, 66, 18, 50, "#1b2b2b", radius=5)
    canvas.bar(0, 76, 62, 42, "#1b2b2b", radius=16)
    canvas.oval(0, 36, 62, 25, "#1b2b2b")
    canvas.oval(0, 35, 54, 20, "#ffffff")
    canvas.oval(-9, 34, 20, 9, "#ff7f51")
    canvas.oval(16, 36, 14, 7, "#80b918")
    canvas.curve("#e07a5f", 9, (226, -196), (26, -6))
    canvas.curve("#c8553d", 9, (262, -172), (36, 4))
    for x, y in (-26, -18), (22, -26), (-4, -6), (2, -36), (28, -4), (-28, 4):
        canvas.oval(x, y + 22, 15, 15, "#e85d04")
        canvas.oval(x - 5, y + 17, 4, 4, "#ffba80")
    return canvas.finish()


def _egg(canvas: Canvas) -> None:
    white = [(-190, 70), (-130, 34), (-50, 42), (30, 26), (92, 60), (104, 92), (10, 118), (-70, 106)]
    canvas.blob("#d9dde6", *[(x, y + 7) for x, y in white])
    canvas.blob("#ffffff", *white)
    canvas.oval(-44, 70, 62, 32, "#e9ecf2")
    canvas.half(-44, 70, 56, -56, "#ffb703")
    canvas.half(-44, 69, 56, 26, "#ffb703")
    canvas.curve("#ffe08a", 10, (-80, 46), (-66, 32), (-48, 26))


def fried_egg() -> Image:
    canvas = Canvas(WIDE, "#79b4d0")
    canvas.oval(-40, 160, 210, 22, SHADE)
    canvas.curve("#8d5a3b", 34, (150, 60), (226, 22), (290, -10))
    canvas.curve("#a9714b", 8, (176, 38), (226, 14), (280, -14))
    canvas.half(-40, 66, 212, 104, "#252a34")
    canvas.oval(-40, 66, 212, 74, "#3d4452")
    canvas.oval(-40, 72, 196, 62, "#2d323d")
    _egg(canvas)
    for x, y in (38, 60), (-124, 74), (58, 92), (-100, 92), (20, 100):
        canvas.oval(x, y, 4, 3, "#6b705c")
    _steam(canvas, "#e3f4fb", -34)
    return canvas.finish()


def cupcake() -> Image:
    canvas = Canvas(TALL, "#8fd3c1")
    canvas.oval(0, 232, 120, 15, SHADE)
    canvas.shape("#3a86c8", (-132, 70), (132, 70), (96, 232), (-96, 232))
    for x in -92, -32, 28, 88:
        canvas.shape("#66aee6", (x - 16, 70), (x + 14, 70), (x * 0.73 + 10, 232), (x * 0.73 - 12, 232))
    for y, rx, ry, fill in (58, 158, 46, "#f28bb0"), (2, 126, 44, "#f7a3c2"), (-52, 92, 42, "#fbbcd4"):
        canvas.bar(0, y, rx, ry, fill, radius=ry)
    canvas.blob("#fdd3e3", (-58, -78), (-30, -122), (6, -150), (34, -118), (58, -78), (0, -66))
    for x, y, fill in (-110, 62, "#ffd166"), (-40, 74, "#8338ec"), (46, 56, "#ffffff"), (112, 70, "#3a86ff"):
        canvas.curve(fill, 9, (x, y), (x + 14, y - 10))
    for x, y, fill in (-72, 10, "#3a86ff"), (0, 18, "#ffd166"), (74, 4, "#8338ec"), (24, -44, "#3a86ff"):
        canvas.curve(fill, 9, (x, y), (x + 14, y + 8))
    canvas.curve("#4a7c2c", 7, (4, -176), (14, -216), (48, -242))
    canvas.oval(0, -158, 36, 34, "#c9184a")
    canvas.oval(-12, -170, 9, 7, "#ff8fa3")
    return canvas.finish()


def _leaves(canvas: Canvas) -> None:
    outer = [(-128, -30, -40, "#5aa02c"), (126, -34, 40, "#5aa02c")]
    inner = [(-58, -72, -22, "#7cc243"), (64, -76, 20, "#7cc243"), (4, -92, 2, "#5aa02c")]
    for x, y, lean, fill in outer + inner:
        middle = x + lean / 2
        canvas.blob(fill, (x + lean, y - 62), (middle + 46, y - 14), (x + 34, 40), (x - 34, 40), (middle - 46, y - 14))
        canvas.curve("#bfe38a", 6, (x + lean * 0.7, y - 44), (x + lean * 0.2, y - 4), (x, 30))


def salad() -> Image:
    canvas = Canvas(WIDE, "#f4978e")
    canvas.oval(0, 182, 160, 16, SHADE)
    _leaves(canvas)
    for x, y in (-98, -8), (104, -12):
        canvas.oval(x, y, 40, 40, "#2f7d32")
        canvas.oval(x, y, 34, 34, "#d6efb3")
        for dx, dy in (-12, -8), (12, -8), (0, 12), (0, -16):
            canvas.oval(x + dx, y + dy, 4, 6, "#9ccc65")
    for x, y, r in (-26, -14, 40), (44, -2, 34):
        canvas.oval(x, y, r, r, "#e5383b")
        canvas.oval(x - r / 3, y - r / 3, r / 5, r / 5, "#ff9b9b")
    canvas.bar(0, 164, 70, 16, "#8a5a33")
    canvas.half(0, 20, 200, 146, "#b77b48")
    canvas.bar(0, 20, 206, 13, "#d29a63", radius=13)
    canvas.curve("#cf9560", 10, (-160, 70), (-128, 112), (-80, 140))
    return canvas.finish()


def ice_cream() -> Image:
    canvas = Canvas(TALL, "#9d8df1")
    canvas.shape("#dd9c50", (-100, 36), (100, 36), (0, 286))
    for x in -60, -20, 20, 60:
        down = (100 - x) / 200  # how far down the cone a line parallel to its edge gets
        for side in -1, 1:
            end = side * (x + 100 * down), 36 + 250 * down
            canvas.curve("#b9772f", 5, (side * x, 36), end)
    canvas.curve("#8a5a33", 22, (46, -130), (104, -250))
    canvas.curve("#c08a55", 6, (50, -130), (104, -242))
    for x, y, fill in (0, -112, "#fff1d6"), (-58, -28, "#f590b2"), (58, -28, "#8ed6b5"):
        canvas.oval(x, y, 82, 80, fill)
        canvas.oval(x - 28, y - 32, 20, 15, "#ffffff55")
    canvas.bar(0, 36, 122, 18, "#f590b2", radius=18)
    canvas.bar(64, 36, 58, 18, "#8ed6b5", radius=18)
    canvas.curve("#f590b2", 26, (-50, 40), (-50, 84))
    canvas.curve("#8ed6b5", 22, (42, 40), (42, 70))
    canvas.curve("#4a7c2c", 7, (-6, -206), (-14, -242), (-42, -262))
    canvas.oval(-6, -196, 28, 27, "#d00038")
    canvas.oval(-15, -205, 7, 6, "#ff8fa3")
    return canvas.finish()
