"""Decodes, measures and refuses pictures by Pillow, which nothing else in a server that runs imports.

MOST_PASSES and MOST_READS bound the time: with the usual limits none takes more than about 2 seconds, whatever was
crafted.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from PIL.Image import DecompressionBombError, Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from graphql_server.errors import ImageUnreadable, StorageUnavailable

ORIENTATION = 0x0112
TURNS = {3: 180, 6: 270, 8: 90}  # EXIF orientation to degrees counter-clockwise; mirrored ones count as 0
# Cameras write up to a dozen scans. A crafted file can hold 100,000, each of which costs a whole pass.
MOST_SCANS = 100
# Scans times pixels. Each takes about a nanosecond; 50 million pixels may have 20 scans, where libjpeg writes 10.
MOST_PASSES = 1_000_000_000
# A PNG of 20 MB takes 10,000 or so. Pillow spends microseconds of Python on each, and crafted files have millions.
MOST_READS = 100_000
SMALL = 1_000_000  # pixels, which a crafted JPEG may make the thread decode for a tenth of a second
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"
PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"  # its length, name and checksum, the same in every PNG
# Within a scan ff is followed by 00 or by a restart marker; anything else starts the next segment.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
T = TypeVar("T")
QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # as the warnings module keeps a filter


@dataclass(frozen=True, slots=True)
class Picture:
    """What a file shows: pixels as stored, and the turn counter-clockwise that its EXIF asks for."""

    content_type: str
    extension: str
    width: int
    height: int
    exif_degree: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three formats; its class is used itself because Image.open() would also try MPO."""

    magic: "re.Pattern[bytes]"
    reader: type[ImageFile]
    content_type: str
    extension: str


KINDS = (
    Kind(re.compile(rb"\xff\xd8\xff"), JpegImageFile, "image/jpeg", "jpg"),
    Kind(re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile, "image/png", "png"),
    Kind(re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile, "image/webp", "webp"),
)


class _File(io.BufferedReader):
    """A file that can be read in so many pieces; ImageUnreadable tells of more."""

    _left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ImageUnreadable("The picture consists of too many parts.")
        return super().read(size)


def measure(path: Path, max_pixels: int) -> int:
    """The number of pixels that a file's header tells; raises as `inspect`."""
    return _read(path, max_pixels, lambda file: _pixels(_kind(file).reader(file), max_pixels))


def inspect(path: Path, max_pixels: int) -> Picture:
    """Decode the whole file; raises ImageUnreadable, and StorageUnavailable when it cannot be read."""
    return cast("Picture", _read(path, max_pixels, lambda file: _inspect(file, max_pixels, max_pixels)))


def glance(content: bytes, max_pixels: int) -> Picture | None:
    """Decode a file's bytes, if they show no more pixels than SMALL; raises as `inspect`."""
    return _read(io.BytesIO(content), max_pixels, lambda file: _inspect(file, max_pixels, SMALL))


def _read(source: Path | io.BytesIO, max_pixels: int, read: Callable[[BinaryIO], T]) -> T:
    _hush()
    try:
        with _File(io.FileIO(source) if isinstance(source, Path) else source) as file:
            return read(file)
    except ImageUnreadable:
        raise
    except DecompressionBombError:
        raise ImageUnreadable(f"The picture has more pixels than the limit of {max_pixels}.") from None
    except Exception as error:
        # Pillow raises a dozen kinds of error on junk, none of them its own. Only the disk's have a number.
        if isinstance(error, OSError) and error.errno:
            raise StorageUnavailable("The picture cannot be read at present.") from error
        raise ImageUnreadable("The picture is damaged or incomplete.") from error


def _inspect(file: BinaryIO, max_pixels: int, most: int) -> Picture | None:
    """Decode a picture of no more pixels than `most`."""
    image = (kind := _kind(file)).reader(file)
    if _pixels(image, max_pixels) > most:
        return None
    width, height = image.size
    image = _decode(file, kind, image)  # EXIF may come after the pixels of a PNG
    return Picture(kind.content_type, kind.extension, width, height, _turn(image.info.get("exif")))


def _kind(file: BinaryIO) -> Kind:
    head = file.read(16)
    file.seek(0)
    kind = next((kind for kind in KINDS if kind.magic.match(head)), None)
    if kind is None:
        raise ImageUnreadable("The file is no JPEG, PNG or WebP picture.")
    return kind


def _pixels(image: ImageFile, max_pixels: int) -> int:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageUnreadable(f"The picture is {width} x {height} pixels, more than the limit of {max_pixels}.")
    return width * height


def _decode(file: BinaryIO, kind: Kind, image: ImageFile) -> ImageFile:
    if isinstance(image, JpegImageFile):
        file.seek(0)
        _check_scans(file.read(), max(1, min(MOST_SCANS, MOST_PASSES // (image.width * image.height))))
        # An eighth of the size and no colours take a fraction of the memory, and still every byte has to be read.
        image.draft("L", (1, 1))
    elif isinstance(image, PngImageFile):
        # Only verify() looks at checksums, and after it the picture has to be opened anew.
        image.verify()
        file.seek(file.tell() - 8)  # It stops after the name of the last chunk, whatever follows.
        if file.read(len(PNG_END)) != PNG_END:
            raise EOFError
        file.seek(0)
        image = kind.reader(file)
    image.load()
    return image


def _check_scans(data: bytes, most: int) -> None:
    """See that a JPEG's first picture has so many scans at most, and an end after them, where phones write more."""
    scans, at, last = 0, 2, 0
    while scans <= most and (found := MARKER.search(data, at)) and found[1] != END_OF_IMAGE:
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
        if found[1] == START_OF_SCAN:
            scans, last = scans + 1, at
    if scans > most:
        raise ImageUnreadable(f"The picture has more than {most} scans, too many for its size.")
    if data.rfind(b"\xff" + END_OF_IMAGE, last) < 0:
        raise EOFError  # Pillow makes up what is missing.


def _turn(exif: bytes | None) -> int:
    tags = Exif()
    try:
        tags.load(exif or b"")
        return TURNS.get(tags.get(ORIENTATION, 1), 0)
    except Exception:  # noqa: BLE001 - as above; a browser shows such a picture without any turn.
        return 0


def _hush() -> None:
    # Pillow warns of odd metadata, which is no concern of ours. Looked for each time, because whoever
    # leaves warnings.catch_warnings(), as test runners do, puts the earlier filters back.
    if QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)
