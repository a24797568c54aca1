"""How fixes are saved: many that come at the same time by one transaction, each with its file or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import structlog
from tortoise.exceptions import IntegrityError

from graphql_server import datasets, tallies
from graphql_server.changes import Kind, record
from graphql_server.database import Again, Database, Transaction
from graphql_server.engines import Row
from graphql_server.errors import Conflict, DatasetServerError, NotFound, StorageUnavailable
from graphql_server.fixes import Fix, OnDuplicate
from graphql_server.idempotency import Once, recall, remember
from graphql_server.images import TABLE
from graphql_server.media import Media, Staged, reason_of
from graphql_server.pages import rows_of
from graphql_server.pictures import Picture
from graphql_server.statements import inserting, union

LARGEST_USER_PK = 2**31 - 1  # which GraphQL can give; larger ones of the user server are not kept
NAME, HASH = (TABLE.columns.index(column) for column in ("uuid_file_name", "sha256"))
INSERTED = (*TABLE.columns[1:], "unique_sha256")
SAME = "SELECT pk FROM image_info WHERE dataset_info_pk = ? AND sha256 = ? ORDER BY pk LIMIT 1"
KEYS = "SELECT uuid_file_name, pk FROM image_info WHERE pk > ?"

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Save:
    """A fix whose photo is staged and has been looked at."""

    fix: Fix
    staged: Staged
    picture: Picture
    once: Once | None

    @property
    def names(self) -> frozenset[str]:
        """What no two may have in common that are saved by one transaction."""
        return frozenset((self.staged.sha256, self.once.key) if self.once else (self.staged.sha256,))

    def row(self, dataset_pk: int, now: datetime) -> Row:
        """What is inserted, under a new file name, but for the key and `unique_sha256`."""
        fix, picture = self.fix, self.picture
        return (
            dataset_pk,
            fix.original_file_name,
            f"{uuid4()}.{picture.extension}",
            picture.exif_degree if fix.exif_degree is None else fix.exif_degree,
            fix.model_degree,
            fix.confidence,
            fix.user_fix_degree,
            picture.content_type,
            picture.width,
            picture.height,
            self.staged.byte_size,
            self.staged.sha256,
            now,
            fix.user_pk if abs(fix.user_pk or 0) <= LARGEST_USER_PK else None,
        )


@dataclass(frozen=True, slots=True)
class Saved:
    """An image's row, and whether it was made for this fix or was there already."""

    row: Row
    created: bool


Outcome = Saved | DatasetServerError


async def save_all(database: Database, media: Media, saves: Sequence[Save], since: float) -> list[Outcome]:
    """Save by one transaction, whose time counts from a moment of the event loop's clock, and discard what was staged.

    When it raises, neither rows nor files are left but for what was staged, so that it may be tried again.
    """
    outcomes = await database.transact(partial(_save_all, database, media, saves), since)
    await discard(media, *(save.staged for save in saves))
    return outcomes


async def discard(media: Media, *staged: Staged) -> None:
    try:
        await media.discard(*staged)
    except StorageUnavailable as error:
        # The fixes are saved, or have failed for a reason that tells more; the doctor removes what is staged.
        log.warning("file left behind", files=[each.path.name for each in staged], reason=reason_of(error))


async def _save_all(database: Database, media: Media, saves: Sequence[Save], transaction: Transaction) -> list[Outcome]:
    dataset_pk = await datasets.lock_untrained(database, transaction)
    outcomes = await _answered(transaction, saves)
    left = [save for save in saves if save not in outcomes]
    there = await _there(transaction, left, dataset_pk, database.engine.name)
    outcomes |= there
    new = [save for save in left if save not in there]
    rows = await _insert(transaction, new, dataset_pk)
    outcomes |= {save: Saved(row, created=True) for save, row in zip(new, rows, strict=True)}
    saved = [(save.once, outcome.row[:1]) for save in left if isinstance(outcome := outcomes[save], Saved)]
    await remember(transaction, saved)
    if new:
        files = {row[NAME]: save.staged for save, row in zip(new, rows, strict=True)}
        await media.place(dataset_pk, files)
        transaction.undo(partial(media.remove, dataset_pk, *files))
        await tallies.add(transaction, database.engine.name, dataset_pk, len(new))
        await record(transaction, Kind.IMAGE_SAVED, dataset_pk, *(row[0] for row in rows))
    return [outcomes[save] for save in saves]


async def _answered(transaction: Transaction, saves: Sequence[Save]) -> dict[Save, Outcome]:
    """Those that have been sent before."""
    done = await recall(transaction, *(save.once for save in saves))
    if not done:
        return {}
    pks = [pks[0] for pks in done.values() if not isinstance(pks, Conflict)]
    rows = await rows_of(transaction, TABLE, pks) if pks else {}
    found = ((save, done[save.once]) for save in saves if save.once in done)
    return {save: pks if isinstance(pks, Conflict) else _existing(rows, pks[0]) for save, pks in found}


def _existing(rows: dict[int, Row], pk: int) -> Outcome:
    if pk in rows:
        return Saved(rows[pk], created=False)
    return NotFound(f"Image {pk}, which was saved with this idempotencyKey, has been removed.")


async def _there(transaction: Transaction, saves: Sequence[Save], dataset_pk: int, engine: str) -> dict[Save, Outcome]:
    """Those whose photo the untrained dataset has, and that ask for no copy."""
    sought = {save.staged.sha256: save for save in saves if save.fix.on_duplicate is not OnDuplicate.ALLOW}
    if not sought:
        return {}
    same = union((SAME,) * len(sought), engine)
    found = await transaction.fetch(same, [arg for sha256 in sought for arg in (dataset_pk, sha256)])
    rows = await rows_of(transaction, TABLE, [pk for (pk,) in found]) if found else {}
    by_hash = {row[HASH]: row for row in rows.values()}
    return {sought[sha256]: _known(sought[sha256], row) for sha256, row in by_hash.items()}


def _known(save: Save, row: Row) -> Outcome:
    if save.fix.on_duplicate is OnDuplicate.REJECT:
        return Conflict(f"The untrained dataset has this photo already: image {row[0]}.")
    return Saved(row, created=False)


async def _insert(transaction: Transaction, saves: Sequence[Save], dataset_pk: int) -> list[Row]:
    if not saves:
        return []
    now = datetime.now(UTC)
    rows = [save.row(dataset_pk, now) for save in saves]
    copies = [save.fix.on_duplicate is OnDuplicate.ALLOW for save in saves]
    uniques = [None if copy else save.staged.sha256 for save, copy in zip(saves, copies, strict=True)]
    values = [value for row, unique in zip(rows, uniques, strict=True) for value in (*row, unique)]
    try:
        pk = await transaction.insert(inserting(TABLE.name, INSERTED, len(rows)), values)
    except IntegrityError:
        raise Again from None  # the same photo was saved meanwhile
    if len(rows) == 1:
        return [(pk, *rows[0])]
    # MySQL tells the first key, SQLite the last, and a cluster leaves gaps between them.
    pks = dict(await transaction.fetch(KEYS, [pk - len(rows)]))
    return [(pks[row[NAME - 1]], *row) for row in rows]
