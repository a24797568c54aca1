"""The album: a reviewer's fix is saved with its file, or neither; a removed image takes its file along."""

import asyncio
import time
from functools import partial

import structlog

from graphql_server import tallies
from graphql_server.changes import Kind, record
from graphql_server.database import Database, Transaction
from graphql_server.decoding import Decoder
from graphql_server.engines import Row
from graphql_server.errors import DatasetServerError, NotFound, OperationTimedOut, StorageUnavailable
from graphql_server.figures import Uploads
from graphql_server.fixes import Fix
from graphql_server.groups import Groups
from graphql_server.images import TABLE
from graphql_server.media import Media, Readable, log_unavailable, reason_of
from graphql_server.models import ImageInfo
from graphql_server.saves import Save, Saved, discard, save_all

# Saves under way: half of them are staged while the other half is saved by one transaction, whose time limit runs for
# those who wait for it, too.
SAVES_AT_ONCE = 64
ONE = f"SELECT {', '.join(TABLE.columns)} FROM {TABLE.name} WHERE pk = ?"

log = structlog.stdlib.get_logger(__name__)


class Album:
    """Where images are kept: rows in the database, files in the media folder, none without the other."""

    def __init__(self, database: Database, media: Media, decoder: Decoder, max_upload_bytes: int) -> None:
        self.database, self.media, self.decoder = database, media, decoder
        self.uploads = Uploads()
        self.groups = Groups[Save, Saved](partial(save_all, database, media), SAVES_AT_ONCE // 2)
        self._max_upload_bytes = max_upload_bytes
        self._turns = asyncio.Semaphore(SAVES_AT_ONCE)

    async def save_fix(self, file: Readable, fix: Fix, until: float | None = None) -> Saved:
        """Save a photo into the untrained dataset; gives its row once that and the file are on disk.

        A photo that is there already is not saved again unless that is asked for, nor is a fix whose key has been
        sent before. The slow part, reading and decoding, comes before the transaction, and is given up at `until` of
        time.monotonic(). Raises BadUserInput, Conflict and Unavailable; then neither row nor file is left.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(until) as limit, self._turns:
                saved = await self._save_fix(file, fix, limit)
        except TimeoutError:
            self.uploads.refused[OperationTimedOut.code] += 1
            raise OperationTimedOut("There was no time left to save this (OPERATION_SECONDS).") from None
        except DatasetServerError as error:
            self.uploads.refused[error.code] += 1
            if isinstance(error, StorageUnavailable):
                log_unavailable(error)
            raise
        finally:
            self.uploads.durations.add(began)
        self.uploads.saved += saved.created
        self.uploads.known += not saved.created
        return saved

    async def _save_fix(self, file: Readable, fix: Fix, limit: asyncio.Timeout) -> Saved:
        fix.check()
        glance = self.decoder.glance()
        staged = await self.media.stage(file, self._max_upload_bytes, glance)
        self.uploads.bytes += staged.byte_size
        try:
            picture = glance.picture or await self.decoder.inspect(staged.path, staged.sha256)
            save = Save(fix, staged, picture, fix.once(staged.sha256))
            limit.reschedule(None)  # the transaction has a limit of its own, and is not given up
            return await self.groups.add(save, save.names)
        except BaseException:
            await discard(self.media, staged)
            raise

    async def remove_image(self, pk: int) -> Row:
        """Remove an image and its file; gives the row that was. Raises NotFound."""
        row = await self.database.transact(partial(_remove, pk, self.database.engine.name))
        try:
            await self.media.remove(row[1], row[3])
        except (StorageUnavailable, ValueError) as error:
            # The image is gone, which is what was asked; a file without a row is collected later.
            log.warning("file left behind", image=pk, reason=reason_of(error))
        return row


async def _remove(pk: int, engine: str, transaction: Transaction) -> Row:
    rows = await transaction.fetch(ONE + (" FOR UPDATE" if engine == "mysql" else ""), [pk])
    if not rows:
        raise NotFound(f"There is no image {pk}.")
    await ImageInfo.filter(id=pk).using_db(transaction.client).delete()
    await tallies.add(transaction, engine, rows[0][1], -1)
    await record(transaction, Kind.IMAGE_REMOVED, rows[0][1], pk)
    return rows[0]
