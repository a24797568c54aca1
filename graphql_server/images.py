"""Images: a reviewer's fix is saved with its file, or neither; a removed image takes its file along."""

import asyncio
import math
import time
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from uuid import uuid4

import structlog
from tortoise.exceptions import IntegrityError

from graphql_server import datasets, tallies
from graphql_server.changes import Kind, record
from graphql_server.database import Again, Database, Transaction
from graphql_server.engines import Row
from graphql_server.errors import (
    BadUserInput,
    Conflict,
    DatasetServerError,
    NotFound,
    OperationTimedOut,
    StorageUnavailable,
)
from graphql_server.figures import Uploads
from graphql_server.idempotency import Once, recall, remember
from graphql_server.listings import Order, Table
from graphql_server.media import Media, Readable, Staged
from graphql_server.models import ImageInfo, columns_of
from graphql_server.pictures import Decoder, Picture

LONGEST_NAME = 255
AT_ONCE = 32  # saves; the clock of a transaction runs for those who wait for a connection too
LARGEST_USER_PK = 2**31 - 1  # which GraphQL can give; larger ones of the user server are not kept
COLUMNS = columns_of(ImageInfo, without="unique_sha256")
TABLE = Table(
    name="image_info",
    columns=COLUMNS,
    parent="dataset_info_pk",
    indexes={
        (True, None): "image_info_dataset_pk",
        (True, "confidence"): "image_info_dataset_confidence",
        (True, "original_file_name"): "image_info_dataset_name",
        (False, None): "PRIMARY",
        (False, "confidence"): "image_info_confidence",
        (False, "original_file_name"): "image_info_name",
        (True, "model_was_wrong"): "image_info_dataset_wrong",
        (False, "model_was_wrong"): "image_info_wrong",
    },
    tally=tallies.read,
)
ONE = f"SELECT {', '.join(COLUMNS)} FROM image_info WHERE pk = ?"
SAME = f"SELECT {', '.join(COLUMNS)} FROM image_info WHERE dataset_info_pk = ? AND sha256 = ? ORDER BY pk LIMIT 1"
INSERTED = (*COLUMNS[1:], "unique_sha256")
INSERT = f"INSERT INTO image_info ({', '.join(INSERTED)}) VALUES ({', '.join('?' * len(INSERTED))})"
CREATED = Order("CREATED_AT")
CONFIDENCE = Order("CONFIDENCE", "confidence", float)
NAME = Order("ORIGINAL_FILE_NAME", "original_file_name")

log = structlog.stdlib.get_logger(__name__)


class OnDuplicate(Enum):
    """What to do with a photo that the untrained dataset has already, byte for byte."""

    RETURN_EXISTING = "RETURN_EXISTING"
    REJECT = "REJECT"
    ALLOW = "ALLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A reviewer's answer; degrees are counter-clockwise, confidence is from 0 to 1.

    Without an `exif_degree` the one is taken that the file asks for. `user_pk` is who saves it, where that is known.
    """

    original_file_name: str
    exif_degree: int | None
    model_degree: int
    confidence: float
    user_fix_degree: int
    on_duplicate: OnDuplicate = OnDuplicate.RETURN_EXISTING
    idempotency_key: str | None = None
    user_pk: int | None = None

    def check(self) -> None:
        """Raise BadUserInput where a value cannot be."""
        if len(self.original_file_name) > LONGEST_NAME:
            raise BadUserInput(f"A file name has at most {LONGEST_NAME} characters.")
        if not self.original_file_name.isprintable() and any(
            0xD800 <= ord(c) < 0xE000 for c in self.original_file_name
        ):
            raise BadUserInput("The file name holds half of a character.")
        if not (math.isfinite(self.confidence) and 0 <= self.confidence <= 1):
            raise BadUserInput("A confidence is from 0 to 1.")

    def once(self, sha256: str) -> Once | None:
        """The fix's idempotency key, if it has one, with a fingerprint of all that was sent."""
        if self.idempotency_key is None:
            return None
        sent = replace(self, idempotency_key=None)
        return Once.of(self.idempotency_key, self.user_pk, "saveFix", sha256, *(str(part) for part in astuple(sent)))


@dataclass(frozen=True, slots=True)
class Saved:
    """An image's row, and whether it was made for this fix or was there already."""

    row: Row
    created: bool


@dataclass(frozen=True, slots=True)
class Album:
    """Where images are kept: rows in the database, files in the media folder, none without the other."""

    database: Database
    media: Media
    decoder: Decoder
    max_upload_bytes: int
    uploads: Uploads = field(default_factory=Uploads)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def save_fix(self, file: Readable, fix: Fix, until: float | None = None) -> Saved:
        """Save a photo into the untrained dataset; gives its row once that and the file are on disk.

        A photo that is there already is not saved again unless that is asked for, nor is a fix whose key has been
        sent before. The slow part, reading and decoding, comes before the transaction, and is given up at `until` of
        time.monotonic(). Raises BadUserInput, Conflict and Unavailable; then neither row nor file is left.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(until) as limit, self.turns:
                saved = await self._save_fix(file, fix, limit)
        except TimeoutError:
            self.uploads.refused[OperationTimedOut.code] += 1
            raise OperationTimedOut("There was no time left to save this (OPERATION_SECONDS).") from None
        except DatasetServerError as error:
            self.uploads.refused[error.code] += 1
            raise
        finally:
            self.uploads.durations.add(began)
        self.uploads.saved += saved.created
        self.uploads.known += not saved.created
        return saved

    async def _save_fix(self, file: Readable, fix: Fix, limit: asyncio.Timeout) -> Saved:
        fix.check()
        glance = self.decoder.glance()
        staged = await self.media.stage(file, self.max_upload_bytes, glance)
        self.uploads.bytes += staged.byte_size
        try:
            picture = glance.picture or await self.decoder.inspect(staged.path, staged.sha256)
            limit.reschedule(None)  # the transaction has a limit of its own, and is not given up
            return await self.database.transact(partial(self._save, fix, staged, picture, fix.once(staged.sha256)))
        finally:
            await self._discard(staged)

    async def _discard(self, staged: Staged) -> None:
        try:
            await self.media.discard(staged)
        except StorageUnavailable as error:
            # The fix is saved, or has failed for a reason that tells more; the doctor removes what is staged.
            log.warning("file left behind", file=staged.path.name, error=str(error))

    async def _save(
        self, fix: Fix, staged: Staged, picture: Picture, once: Once | None, transaction: Transaction
    ) -> Saved:
        dataset_pk = await datasets.lock_untrained(self.database, transaction)
        if done := await recall(transaction, once):
            return Saved(await _existing(transaction, done[0]), created=False)
        if there := await _same_photo(transaction, fix, dataset_pk, staged.sha256):
            await remember(transaction, once, there[0])
            return Saved(there, created=False)
        file_name = f"{uuid4()}.{picture.extension}"
        row = await _insert(transaction, fix, staged, picture, dataset_pk, file_name)
        await remember(transaction, once, row[0])
        transaction.undo(partial(self.media.remove, dataset_pk, file_name))
        await self.media.place(staged, dataset_pk, file_name)
        await tallies.add(transaction, self.database.engine.name, dataset_pk, 1)
        await record(transaction, Kind.IMAGE_SAVED, dataset_pk, row[0])
        return Saved(row, created=True)

    async def remove_image(self, pk: int) -> Row:
        """Remove an image and its file; gives the row that was. Raises NotFound."""
        row = await self.database.transact(partial(_remove, pk, self.database.engine.name))
        try:
            await self.media.remove(row[1], row[3])
        except (StorageUnavailable, ValueError) as error:
            # The image is gone, which is what was asked; a file without a row is collected later.
            log.warning("file left behind", image=pk, error=str(error))
        return row


async def _insert(
    transaction: Transaction, fix: Fix, staged: Staged, picture: Picture, dataset_pk: int, file_name: str
) -> Row:
    values = (
        dataset_pk,
        fix.original_file_name,
        file_name,
        picture.exif_degree if fix.exif_degree is None else fix.exif_degree,
        fix.model_degree,
        fix.confidence,
        fix.user_fix_degree,
        picture.content_type,
        picture.width,
        picture.height,
        staged.byte_size,
        staged.sha256,
        datetime.now(UTC),
        fix.user_pk if abs(fix.user_pk or 0) <= LARGEST_USER_PK else None,
    )
    unique_sha256 = None if fix.on_duplicate is OnDuplicate.ALLOW else staged.sha256
    try:
        pk = await transaction.insert(INSERT, (*values, unique_sha256))
    except IntegrityError:
        raise Again from None  # the same photo was saved meanwhile
    return (pk, *values)


async def _same_photo(transaction: Transaction, fix: Fix, dataset_pk: int, sha256: str) -> Row | None:
    """The image that a fix need not be saved beside; Conflict where the client wants to be told."""
    if fix.on_duplicate is OnDuplicate.ALLOW:
        return None
    rows = await transaction.fetch(SAME, (dataset_pk, sha256))
    if rows and fix.on_duplicate is OnDuplicate.REJECT:
        raise Conflict(f"The untrained dataset has this photo already: image {rows[0][0]}.")
    return rows[0] if rows else None


async def _existing(transaction: Transaction, pk: int) -> Row:
    rows = await transaction.fetch(ONE, [pk])
    if not rows:
        raise NotFound(f"Image {pk}, which was saved with this idempotencyKey, has been removed.")
    return rows[0]


async def _remove(pk: int, engine: str, transaction: Transaction) -> Row:
    rows = await transaction.fetch(ONE + (" FOR UPDATE" if engine == "mysql" else ""), [pk])
    if not rows:
        raise NotFound(f"There is no image {pk}.")
    await ImageInfo.filter(id=pk).using_db(transaction.client).delete()
    await tallies.add(transaction, engine, rows[0][1], -1)
    await record(transaction, Kind.IMAGE_REMOVED, rows[0][1], pk)
    return rows[0]
