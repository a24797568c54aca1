"""Decode, measure, refuse: the only module that imports Pillow."""

import asyncio
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"
# Within a scan ff is followed by 00 or by a restart marker; anything else starts the next segment.
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
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


class Decoder:
    """Decodes pictures off the event loop, some at a time."""

    def __init__(self, workers: int, max_pixels: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._max_pixels = max_pixels

    async def inspect(self, path: Path) -> Picture:
        """Decode the whole file; raises ImageUnreadable, and StorageUnavailable when it cannot be read."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, inspect, path, self._max_pixels)

    def close(self) -> None:
        """Let decodes that run come to their end, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def inspect(path: Path, max_pixels: int) -> Picture:
    """Decode the whole file in this thread; raises as Decoder.inspect."""
    _hush()
    try:
        with path.open("rb") as file:
            return _inspect(file, max_pixels)
    except ImageUnreadable:
        raise
    except DecompressionBombError:
        raise ImageUnreadable(f"the picture has more pixels than the limit of {max_pixels}") from None
    except Exception as error:
        # Pillow raises a dozen kinds of error on junk, none of them its own. Only the disk's have a number.
        if isinstance(error, OSError) and error.errno:
            raise StorageUnavailable("the picture cannot be read at present") from error
        raise ImageUnreadable("the picture is damaged or incomplete") from error


def _inspect(file: BinaryIO, max_pixels: int) -> Picture:
    head = file.read(16)
    kind = next((kind for kind in KINDS if kind.magic.match(head)), None)
    if kind is None:
        raise ImageUnreadable("the file is no JPEG, PNG or WebP picture")
    image = _begin(file, kind)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageUnreadable(f"the picture is {width} x {height} pixels, more than the limit of {max_pixels}")
    _decode(file, kind, image)
    return Picture(kind.content_type, kind.extension, width, height, _turn(image.info.get("exif")))


def _begin(file: BinaryIO, kind: Kind) -> ImageFile:
    file.seek(0)
    return kind.reader(file)


def _decode(file: BinaryIO, kind: Kind, image: ImageFile) -> None:
    if isinstance(image, JpegImageFile):
        file.seek(0)
        if _scans(file.read()) > MOST_SCANS:
            raise ImageUnreadable(f"the picture has more than {MOST_SCANS} scans")
        # An eighth of the size takes a fraction of the memory, and still every byte has to be read.
        image.draft(None, (1, 1))
    elif isinstance(image, PngImageFile):
        # Only verify() looks at checksums, and after it the picture has to be opened anew.
        image.verify()
        image = _begin(file, kind)
    image.load()


def _scans(data: bytes) -> int:
    """Count the scans of a JPEG's first picture, as far as one more than are allowed."""
    scans, at = 0, 2
    while scans <= MOST_SCANS and (found := MARKER.search(data, at)) and found[1] != END_OF_IMAGE:
        scans += found[1] == START_OF_SCAN
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return scans


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
