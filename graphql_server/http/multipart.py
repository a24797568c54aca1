"""Takes a multipart form apart as it comes: https://www.rfc-editor.org/rfc/rfc7578

Starlette's parser makes a call for each line, name and value, which for a photo takes longer than to answer a query.
"""

import re
from contextlib import suppress
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile

from graphql_server.errors import BadRequest
from graphql_server.http.bodies import Body

MOST_FILES = 100
TEXT_BYTES = 1024 * 1024
FILES_BYTES = 1024 * 1024  # of a form's files that are kept in memory; others lie in the folder for temporary files
HEAD_BYTES = 4 * 1024  # of each part
BOUNDARY_BYTES = 256  # the standard has 70
TEXTS = ("operations", "map")  # of a form; all others are files
DISPOSITION = re.compile(rb"^content-disposition:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class Form:
    """What a form's parts hold, each under its name."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes | UploadFile] = {}
        self._files: list[UploadFile] = []
        self._memory = FILES_BYTES  # that is left

    async def add(self, name: str, file_name: str | None, pieces: "_Pieces") -> None:
        """Read a part, a file or a text."""
        if name in self.parts:  # One of the two would be lost, and the answer would tell of the other.
            raise BadRequest(f"The form has two parts that are named {name[:100]!r}.")
        if file_name is None:
            if name not in TEXTS:
                raise BadRequest(f"The form's field {name[:100]!r} came as a text; send it as a file, with a filename.")
            self.parts[name] = await pieces.content(TEXT_BYTES)
            return
        if len(self._files) == MOST_FILES:
            raise BadRequest(f"The form has more than {MOST_FILES} files.")
        # Of a size of 0 it would keep all.
        kept = SpooledTemporaryFile(max_size=max(1, self._memory))  # noqa: SIM115 - closed with the form
        self.parts[name] = file = UploadFile(cast("BinaryIO", kept), size=0, filename=file_name)
        self._files.append(file)
        last = False
        while not last:
            piece, last = await pieces.before(pieces.boundary)
            await file.write(piece)
        await file.seek(0)  # Its last bytes are written by then, or there is no room for them.
        if file.size and file.size <= self._memory:
            self._memory -= file.size

    async def close(self) -> None:
        for file in self._files:
            with suppress(OSError):  # What it holds is not wanted any more.
                await file.close()


class _Pieces:
    """A form's body, cut at its boundaries."""

    def __init__(self, body: Body, boundary: bytes) -> None:
        self.boundary = b"\r\n--" + boundary
        self._body = body
        self._held = b"\r\n"  # for the first boundary to be as all others

    async def before(self, mark: bytes) -> tuple[bytes, bool]:
        """Some of what comes before a mark, and whether that is the rest; the mark is passed over then."""
        at = self._held.find(mark)
        if at >= 0:
            piece, self._held = self._held[:at], self._held[at + len(mark) :]
            return piece, True
        # The end of what has come may be the beginning of the mark.
        sure = max(0, len(self._held) - len(mark) + 1)
        piece, self._held = self._held[:sure], self._held[sure:] + await self._more()
        return piece, False

    async def content(self, most: int, mark: bytes = b"") -> bytes:
        """All that comes before a mark, by default the next boundary."""
        found, last = bytearray(), False
        while not last:
            piece, last = await self.before(mark or self.boundary)
            found += piece
            if len(found) > most:
                raise BadRequest(f"The form has a part, or the head of one, of more than {most} bytes.")
        return bytes(found)

    async def goes_on(self) -> bool:
        """Whether another part follows a boundary, or the end; what follows that is skipped."""
        while len(self._held) < 2:
            self._held += await self._more()
        if self._held.startswith(b"\r\n"):
            return True  # The line's end is left, since it ends a head without any header.
        if not self._held.startswith(b"--"):
            raise BadRequest("The form cannot be read: a boundary has something behind it.")
        while self._body.more:
            await self._body.piece()
        return False

    async def _more(self) -> bytes:
        if not self._body.more:
            raise BadRequest("The form breaks off.")
        return await self._body.piece()


async def read(content_type: bytes, body: Body) -> Form:
    """The form that a body is; whoever asks closes it. BadRequest says what is wrong with it."""
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= BOUNDARY_BYTES:
        raise BadRequest(f"The form's content type names no boundary of 1 to {BOUNDARY_BYTES} characters.")
    form, pieces = Form(), _Pieces(body, boundary)
    try:
        while not (await pieces.before(pieces.boundary))[1]:
            pass  # what a form begins with is for those who know no forms
        while await pieces.goes_on():
            await form.add(*_names(await pieces.content(HEAD_BYTES, b"\r\n\r\n")), pieces)
    except BaseException:
        await form.close()
        raise
    return form


@lru_cache(100)
def _names(head: bytes) -> tuple[str, str | None]:
    """The name that a part's head gives, and the file's."""
    found = DISPOSITION.search(head)
    options = parse_options_header(found[1])[1] if found else {}
    if b"name" not in options:
        raise BadRequest("The form has a part without a name.")
    return _text(options[b"name"]), _text(options[b"filename"]) if b"filename" in options else None


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
