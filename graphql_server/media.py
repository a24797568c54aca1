"""The folder of pictures: stage, place, remove, read; what waits for the disk is done by threads."""

import errno
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

import structlog

from graphql_server import disk
from graphql_server.addresses import Addresses
from graphql_server.disk import MAGIC_BYTES, STAGING, Copy, Found, Look, is_place
from graphql_server.errors import FileTooLarge, ImageUnreadable, NotFound, StorageStalled, StorageUnavailable
from graphql_server.threads import Late, Stalled, Threads

PIECE_BYTES = 1024 * 1024
# So much of a picture is on its way to a client at once, or somewhat more: who reads slowly costs no more memory.
SENT_BYTES = 64 * 1024
THREADS = 8  # for each kind of work; a stalled network folder holds these and not every thread of the process
# How long each call into the folder is waited for. A transaction waits while files are placed, and its locks are held.
SECONDS, PLACING_SECONDS, PROBING_SECONDS = 10.0, 3.0, 2.0
# What the operator is to do about an error of a disk; the others pass, or their reason tells more.
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "let the server write to the folder"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "put the folder back, or mount it"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow the server more open files"),
}
T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)


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
    """A picture that is open for reading, and the threads that read on."""

    found: Found
    threads: Threads

    def close(self) -> None:
        os.close(self.found.descriptor)

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Read bytes start to end, exclusive; raises StorageUnavailable when the file ends before."""
        while start < end:
            size = min(SENT_BYTES, end - start)
            piece = await _run(self.threads, os.pread, self.found.descriptor, size, start)
            if not piece:
                raise StorageUnavailable("The picture has become shorter.")
            start += len(piece)
            yield piece


def log_unavailable(error: StorageUnavailable | OSError, folder: str = "MEDIA_ROOT") -> None:
    """Log what an answer does not say: why a folder, by the name of its setting, cannot be used, and what to do."""
    advice = ADVICE.get(getattr(error.__cause__ or error, "errno", None) or 0)
    told = log.error if advice else log.warning
    told("storage unavailable", folder=folder, reason=reason_of(error), advice=advice)


def reason_of(error: Exception) -> str:
    """What lies behind an error, with its path: for the log and not for clients."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}"


class Media:
    """The pictures of one folder, and with keys the signed addresses under which clients find them."""

    def __init__(self, root: Path, url: str = "", keys: tuple[str, ...] = (), seconds: int = 1) -> None:
        self.root = root
        self._staged = root / STAGING
        addresses = Addresses(url, keys, seconds)
        self.address, self.check = addresses.address, addresses.check
        self._local = disk.is_local(root)
        # Apart, so that what a transaction waits for does not queue behind a thousand uploads, nor reading behind what
        # cannot be written.
        self._reading = Threads("media-reading", THREADS, SECONDS)
        self._staging = Threads("media-staging", THREADS, SECONDS)
        self._placing = Threads("media-placing", THREADS, PLACING_SECONDS)
        self._probing = Threads("media-probing", 1, PROBING_SECONDS)

    def close(self) -> None:
        """Let what the threads do come to its end, without waiting for it."""
        for threads in (self._reading, self._staging, self._placing, self._probing):
            threads.close()

    async def check_writable(self) -> None:
        """Raise StorageUnavailable unless pictures can be staged."""
        await _run(self._probing, disk.try_staging, self.root)

    async def stage(self, source: Readable, max_bytes: int, look: Look = lambda _: None) -> Staged:
        """Copy an upload to the disk and hash it on the way; a failure leaves nothing.

        `look` is called with an upload of no more than PIECE_BYTES before that is written, by the same thread, and
        what it raises is a failure. Raises ImageUnreadable when it is empty, FileTooLarge beyond max_bytes,
        StorageUnavailable.
        """
        copy = Copy(self._staged / uuid4().hex, look)
        try:
            with _storage():
                return await self._copy(source, copy, max_bytes)
        except StorageStalled:
            raise  # It is removed when the folder answers again.
        except BaseException:
            with suppress(StorageUnavailable):  # The first error tells more.
                await _run(self._staging, copy.discard, in_the_end=True)
            raise

    async def _copy(self, source: Readable, copy: Copy, max_bytes: int) -> Staged:
        # Each call into a thread costs as much as it does for a small picture: there is one for each piece.
        size = 0
        piece = await source.read(PIECE_BYTES)
        while piece:
            size = _counted(size + len(piece), max_bytes)
            following = await source.read(PIECE_BYTES)
            # What has begun is done, however late; only after that it is removed.
            begun = size > len(piece)
            await _run(self._staging, copy.add, piece, not following, late=lambda _: copy.discard(), in_the_end=begun)
            piece = following
        if not size:
            raise ImageUnreadable("The file is empty.")
        return Staged(copy.path, size, copy.digest.hexdigest())

    async def discard(self, *staged: Staged) -> None:
        """Remove staged names; those that are discarded already are fine."""
        await _run(self._placing, disk.discard, [each.path for each in staged], in_the_end=True)

    async def place(self, dataset_pk: int, staged: Mapping[str, Staged]) -> None:
        """Give staged files their final names, durably; raises FileExistsError rather than overwrite.

        The staged names stay until `discard`, so that files can be removed and placed again. Any other failure leaves
        no final name, at the latest when the folder answers again.
        """
        folder, paths = self._folder(dataset_pk, *staged), {name: each.path for name, each in staged.items()}
        try:
            await _run(self._placing, disk.place, folder, paths, late=lambda _: disk.remove(folder, staged))
        except (FileExistsError, StorageStalled):
            raise
        except BaseException:
            with suppress(StorageUnavailable):  # The first error tells more.
                await self.remove(dataset_pk, *staged)
            raise

    async def remove(self, dataset_pk: int, *file_names: str) -> None:
        """Remove pictures, durably; missing ones are fine. Raises StorageUnavailable, also without the root."""
        folder = self._folder(dataset_pk, *file_names)
        await _run(self._placing, disk.remove, folder, file_names, in_the_end=True)

    def _folder(self, dataset_pk: int, *file_names: str) -> Path:
        if not all(is_place(str(dataset_pk), file_name) for file_name in file_names):
            raise ValueError("not where a picture can be")
        return self.root / str(dataset_pk)

    async def open(self, dataset_pk: str, file_name: str, whole: int = MAGIC_BYTES) -> Opened:
        """Open a picture for reading, without following links; the caller closes it.

        One of `whole` bytes at most is read at once, of others the first bytes. Raises NotFound, for names
        that no picture can have as well, and StorageUnavailable.
        """
        if not is_place(dataset_pk, file_name):
            raise NotFound("There is no such picture.")
        return Opened(await self._find(dataset_pk, file_name, whole), self._reading)

    async def _find(self, dataset_pk: str, file_name: str, whole: int) -> Found:
        # A call into a thread costs more than to read what is in memory, but a network folder may not answer.
        if self._local:
            try:
                return disk.find(self.root, dataset_pk, file_name, whole, cached=True)
            except OSError:
                pass  # The disk has to be waited for, or its failure is met again.
        return await _run(self._reading, disk.find, self.root, dataset_pk, file_name, whole, late=_close)


async def _run(
    threads: Threads, call: Callable[..., T], *args: object, late: Late = lambda _: None, in_the_end: bool = False
) -> T:
    with _storage():
        return await threads.run(call, *args, late=late, in_the_end=in_the_end)


def _close(found: "Future[Found]") -> None:
    if not found.exception():
        os.close(found.result().descriptor)


@contextmanager
def _storage() -> Generator[None]:
    try:
        yield
    except FileExistsError:
        raise  # No two pictures have one name; this is a bug and no failure of the disk.
    except Stalled as error:
        raise StorageStalled("The folder of pictures does not answer at present; try again.") from error
    except OSError as error:
        raise StorageUnavailable("The folder of pictures cannot be used at present.") from error


def _counted(size: int, max_bytes: int) -> int:
    if size > max_bytes:
        raise FileTooLarge(f"The file is larger than {max_bytes} bytes.")
    return size
