"""Photos to upload, made when they are needed."""

import io
from uuid import uuid4

from PIL import Image

DESCRIPTION, ORIENTATION = 0x010E, 0x0112


def photo(
    format: str = "JPEG", *, size: tuple[int, int] = (64, 48), orientation: int | None = None, seed: int | None = None
) -> bytes:
    """A picture like no other, or the same for the same seed; `orientation` is written into its EXIF."""
    image = Image.new("RGB", size, (120, 60, 30))
    image.paste((250, 250, 250), (0, 0, size[0] // 2, size[1] // 4))
    exif = Image.Exif()
    exif[DESCRIPTION] = uuid4().hex if seed is None else f"photo {seed}"
    if orientation is not None:
        exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.save(buffer, format, exif=exif)
    return buffer.getvalue()


class Upload:
    """An upload that is there at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self, size: int) -> bytes:
        piece, self._content = self._content[:size], self._content[size:]
        return piece
