"""The folder of pictures as threads work on it: plain calls that wait for the disk, and raise OSError."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from graphql_server.errors import NotFound

STAGING = ".staging"
PLACE = re.compile(r"[0-9]{1,19}/[0-9a-f-]{36}\.(jpg|png|webp)")
MAGIC_BYTES = 16  # by which the kind of a picture is known
FOLDER = os.O_RDONLY | os.O_DIRECTORY
# What open() says of a name that leads nowhere, to a link, or through something that is no folder.
ABSENT = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
# File systems that answer at once, other than another machine's or a program's.
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay")
Look = Callable[[bytes], object]


class Found(NamedTuple):
    """A file that is open for reading: its first bytes or all, its time in Unix seconds, its ETag with quotes."""

    descriptor: int
    head: bytes | memoryview
    byte_size: int
    modified: float
    etag: bytes


def is_place(dataset_pk: str, file_name: str) -> bool:
    """Tell whether a picture can be there: no other path is ever looked at."""
    return PLACE.fullmatch(f"{dataset_pk}/{file_name}") is not None


class Copy:
    """A new file that is written and hashed piece by piece; with the last one it is closed and on the disk."""

    def __init__(self, path: Path, look: Look) -> None:
        self.path = path
        self._look = look
        self._file: list[int] = []  # its descriptor, while it is open
        self.digest = hashlib.sha256()

    def add(self, piece: bytes, last: bool) -> None:  # noqa: FBT001 - as a thread is told
        """Write a piece; where it is the only one, `look` is called with it before, and may refuse it."""
        if not self._file:
            if last:
                self._look(piece)
            self._file.append(_create(self.path))
        self.digest.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._file[0], rest) :]
        if last:
            os.fsync(self._file[0])
            os.close(self._file.pop())

    def discard(self) -> None:
        """Remove it, done or not; this may be called more than once, but not while a piece is added."""
        # A network folder may tell only now that it has no room for what was written; the file is closed all the same.
        with suppress(IndexError, OSError):
            os.close(self._file.pop())
        self.path.unlink(missing_ok=True)


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileNotFoundError:
        # Only the staging folder, never the root: a volume that is not mounted must not be written under.
        with suppress(FileExistsError):
            path.parent.mkdir()
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def try_staging(root: Path) -> None:
    """See whether pictures can be staged."""
    staging = root / STAGING
    with suppress(FileExistsError):
        staging.mkdir()
    if not os.access(staging, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(staging))


def place(folder: Path, staged: Mapping[str, Path]) -> None:
    """Give staged files their names in a folder, which are on the disk then."""
    if not folder.is_dir():
        with suppress(FileExistsError):
            folder.mkdir()
        _sync(folder.parent)
    placed: list[str] = []
    try:
        for name, path in staged.items():
            _link(path, folder / name)
            placed.append(name)
    except FileExistsError:  # at a name that somebody else has
        remove(folder, placed)
        raise
    _sync(folder)


def _link(path: Path, name: Path) -> None:
    try:
        os.link(path, name)  # Unlike a rename, a link never overwrites.
    except FileExistsError:
        # A network folder whose answer was lost is asked once more, and then finds what it has done itself.
        if not name.samefile(path):
            raise


def discard(paths: Iterable[Path]) -> None:
    """Remove staged names; those that are missing are fine."""
    for path in paths:
        path.unlink(missing_ok=True)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files for good; those that are missing are fine, unless the root is missing, too."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    try:
        _sync(folder)
    except FileNotFoundError:
        folder.parent.stat()  # If the whole root is away, the files will be back with it.


def _sync(path: Path) -> None:
    folder = os.open(path, FOLDER)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_local(folder: Path) -> bool:
    """Tell whether a folder is on a disk of this machine, as far as Linux says so."""
    try:
        device = folder.stat().st_dev
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(mount[2] == number and mount[mount.index("-") + 1] in LOCAL for mount in mounts)


def find(root: Path, dataset_pk: str, file_name: str, whole: int, *, cached: bool = False) -> Found:
    """Open a picture without following links; one of `whole` bytes at most is read. Raises NotFound.

    If only what is `cached` may be read, BlockingIOError tells that the disk would have to be waited for.
    """
    descriptor = _open(root, dataset_pk, file_name)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound("There is no such picture.")  # noqa: TRY301 - the file is closed alike
        size = status.st_size if status.st_size <= whole else MAGIC_BYTES
        head = _cached(descriptor, size) if cached else os.pread(descriptor, size, 0)
    except BaseException:
        os.close(descriptor)
        raise
    etag = b'"%x-%x-%x"' % (status.st_ino, status.st_size, status.st_mtime_ns)
    return Found(descriptor, head, status.st_size, status.st_mtime, etag)


def _open(root: Path, dataset_pk: str, file_name: str) -> int:
    base = os.open(root, FOLDER)
    try:
        folder = _within(base, dataset_pk, FOLDER | os.O_NOFOLLOW)
        # Not blocking, since a pipe under that name would hold its reader for ever.
        return _within(folder, file_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in ABSENT:
            raise NotFound("There is no such picture.") from None
        raise


def _within(folder: int, name: str, flags: int) -> int:
    """Open what is in a folder, which is closed then."""
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _cached(descriptor: int, size: int) -> memoryview:
    buffer = bytearray(size)
    if os.preadv(descriptor, [buffer], 0, os.RWF_NOWAIT) < size:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return memoryview(buffer)
