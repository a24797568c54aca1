"""The folder of pictures: stage, place, remove; the only module that opens its files."""

import asyncio
import errno
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from uuid import uuid4

from aiofiles.os import wrap

from graphql_server.addresses import Addresses
from graphql_server.errors import BadUserInput, FileTooLarge, NotFound, StorageUnavailable

PIECE_BYTES = 1024 * 1024
# So much of a picture is on its way to a client at once, or somewhat more: who reads slowly costs no more memory.
SENT_BYTES = 64 * 1024
MAGIC_BYTES = 16  # by which the kind of a picture is known
THREADS = 8  # A stalled network folder then holds these and not every thread of the process.
STAGING = ".staging"
PLACE = re.compile(r"[0-9]{1,19}/[0-9a-f-]{36}\.(jpg|png|webp)")
# What open() says of a name that leads nowhere, to a link, or through something that is no folder.
ABSENT = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
T = TypeVar("T")


class Readable(Protocol):
    async def read(self, size: int, /) -> bytes: ...  # b"" at the end


@dataclass(frozen=True, slots=True)
class Staged:
    """An upload that lies complete in the staging folder; sha256 is in hexadecimal."""

    path: Path
    byte_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture open for reading: its first bytes or all, its time in Unix seconds, its ETag with quotes."""

    head: bytes
    byte_size: int
    modified: float
    etag: str
    file: BinaryIO
    threads: Executor

    def close(self) -> None:
        self.file.close()

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Read bytes start to end, exclusive; raises StorageUnavailable when the file ends before."""
        if end <= len(self.head):
            yield self.head[start:end]
            return
        while start < end:
            size = min(SENT_BYTES, end - start)
            piece = await _finish(self.threads, os.pread, self.file.fileno(), size, start)
            if not piece:
                raise StorageUnavailable("The picture has become shorter.")
            start += len(piece)
            yield piece


class Media:
    """The pictures of one folder and the signed addresses under which clients find them."""

    def __init__(self, root: Path, url: str, keys: tuple[str, ...], seconds: int) -> None:
        self.root = root
        addresses = Addresses(url, keys, seconds)
        self.address, self.check = addresses.address, addresses.check
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="media")
        # Apart, so that what a transaction waits for does not stand behind a thousand uploads.
        self._staging = ThreadPoolExecutor(THREADS, thread_name_prefix="staging")

    def close(self) -> None:
        """Let what the threads do come to its end, without waiting for it."""
        self._threads.shutdown(wait=False)
        self._staging.shutdown(wait=False)

    async def check_writable(self) -> None:
        """Raise StorageUnavailable unless pictures can be staged."""
        await _finish(self._threads, _try, self.root / STAGING)

    async def stage(self, source: Readable, max_bytes: int, then: Callable[[Path], object] = lambda _: None) -> Staged:
        """Copy an upload to the disk and hash it on the way; a failure leaves nothing, one of `then` included.

        `then` is called with the file once that is on the disk, by the thread that has written it. Raises
        BadUserInput when it is empty, FileTooLarge beyond max_bytes, StorageUnavailable.
        """
        path = self.root / STAGING / uuid4().hex
        try:
            with _storage():
                return await self._copy(source, path, max_bytes, then)
        except BaseException:
            with suppress(StorageUnavailable):  # The first error tells more.
                await _finish(self._staging, path.unlink)
            raise

    async def _copy(self, source: Readable, path: Path, max_bytes: int, then: Callable[[Path], object]) -> Staged:
        # Each call into a thread costs as much as it does for a small picture: there is one for each piece.
        copy, size = _Copy(path), 0
        piece = await source.read(PIECE_BYTES)
        try:
            while piece:
                size = _counted(size + len(piece), max_bytes)
                following = await source.read(PIECE_BYTES)
                await _finish(self._staging, copy.add, piece, None if following else then)
                piece = following
        except BaseException:
            await _finish(self._staging, copy.close)
            raise
        if not size:
            raise BadUserInput("The file is empty.")
        return Staged(path, size, copy.digest.hexdigest())

    async def discard(self, staged: Staged) -> None:
        """Remove the staged name; one that is discarded already is fine."""
        await _finish(self._threads, staged.path.unlink, True)  # noqa: FBT003 - missing_ok

    async def place(self, staged: Staged, dataset_pk: int, file_name: str) -> None:
        """Give a staged file its final name, durably; raises FileExistsError rather than overwrite.

        The staged name stays until `discard`, so that a file can be removed and placed again. After
        StorageUnavailable or a cancellation the final name may be taken already: remove it.
        """
        await _finish(self._threads, _place, staged.path, self._path(dataset_pk, file_name))

    async def remove(self, dataset_pk: int, file_name: str) -> None:
        """Remove a picture, durably; a missing one is fine. Raises StorageUnavailable."""
        await _finish(self._threads, _remove, self._path(dataset_pk, file_name))

    def _path(self, dataset_pk: int, file_name: str) -> Path:
        if not is_place(str(dataset_pk), file_name):
            raise ValueError("not where a picture can be")
        return self.root / str(dataset_pk) / file_name

    async def open(self, dataset_pk: str, file_name: str, whole: int = MAGIC_BYTES) -> Opened:
        """Open a picture for reading, without following links; the caller closes it.

        One of `whole` bytes at most is read at once, of others the first bytes. Raises NotFound, for names
        that no picture can have as well, and StorageUnavailable.
        """
        if not is_place(dataset_pk, file_name):
            raise NotFound("There is no such picture.")
        return await _finish(self._threads, _open, self.root, dataset_pk, file_name, whole, self._threads)


def is_place(dataset_pk: str, file_name: str) -> bool:
    """Tell whether a picture can be there: no other path is ever looked at."""
    return PLACE.fullmatch(f"{dataset_pk}/{file_name}") is not None


async def _finish(threads: Executor, call: Callable[..., T], *args: object) -> T:
    """Run a call in a thread to its end, also when the caller is cancelled: what follows may undo it."""
    work = asyncio.ensure_future(wrap(call)(*args, executor=threads))
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        (result,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(result, (IOBase, Opened)):
            result.close()
        raise
    with _storage():
        return work.result()


@contextmanager
def _storage() -> Generator[None]:
    try:
        yield
    except FileExistsError:
        raise  # No two pictures have one name; this is a bug and no failure of the disk.
    except OSError as error:
        raise StorageUnavailable("The folder of pictures cannot be used at present.") from error


@contextmanager
def _folder(path: Path | str, flags: int = 0, within: int | None = None) -> Generator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    with _folder(path) as folder:
        os.fsync(folder)


def _try(staging: Path) -> None:
    with suppress(FileExistsError):
        staging.mkdir()
    if not os.access(staging, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _counted(size: int, max_bytes: int) -> int:
    if size > max_bytes:
        raise FileTooLarge(f"The file is larger than {max_bytes} bytes.")
    return size


class _Copy:
    """A new file that is written and hashed piece by piece; with the last one it is closed and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self.digest = hashlib.sha256()

    def add(self, piece: bytes, then: Callable[[Path], object] | None) -> None:
        """Write a piece; it is the last one if there is something to be done then."""
        if self._file is None:
            self._file = _create(self._path)
        self.digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if then:
            os.fsync(self._file)
            self.close()
            then(self._path)

    def close(self) -> None:
        if self._file is not None:
            descriptor, self._file = self._file, None
            os.close(descriptor)


def _create(path: Path) -> int:
    # Only the staging folder, never the root: a volume that is not mounted must not be written under.
    with suppress(FileExistsError):  # where it is no folder, what follows says so
        path.parent.mkdir()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def _place(staged: Path, target: Path) -> None:
    with suppress(FileExistsError):
        target.parent.mkdir()
        _sync(target.parent.parent)
    target.hardlink_to(staged)  # Unlike a rename, a link never overwrites.
    _sync(target.parent)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        _sync(path.parent)


def _open(root: Path, dataset_pk: str, file_name: str, whole: int, threads: Executor) -> Opened:
    # Not blocking, since a pipe under that name would hold its reader for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with _folder(root) as base:
        try:
            with _folder(dataset_pk, os.O_NOFOLLOW, base) as folder:
                descriptor = os.open(file_name, flags, dir_fd=folder)
        except OSError as error:
            if error.errno in ABSENT:
                raise NotFound("There is no such picture.") from None
            raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotFound("There is no such picture.")
    first = os.pread(descriptor, whole if status.st_size <= whole else MAGIC_BYTES, 0)
    etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
    return Opened(first, status.st_size, status.st_mtime, etag, os.fdopen(descriptor, "rb"), threads)
