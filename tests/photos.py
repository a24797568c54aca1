"""Photos to upload, made when they are needed."""

import io

from PIL import Image

ORIENTATION = 0x0112


def photo(
    format: str = "JPEG", *, size: tuple[int, int] = (64, 48), orientation: int | None = None, seed: int = 0
) -> bytes:
    """A picture that differs with `seed`; `orientation` is written into its EXIF."""
    image = Image.new("RGB", size, (seed * 37 % 256, seed * 59 % 256, seed // 256 * 7 % 256))
    image.paste((250, 250, 250), (0, 0, size[0] // 2, size[1] // 4))
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.save(buffer, format, exif=exif)
    return buffer.getvalue()
