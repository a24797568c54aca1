"""From the rows to the files: the untrained dataset, and whether each image has its file, unchanged."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from tortoise.exceptions import IntegrityError

from graphql_server import tallies
from graphql_server.database import Transaction
from graphql_server.decoding import Decoder
from graphql_server.doctor.report import Examination
from graphql_server.errors import ImageUnreadable, NotFound, StorageUnavailable
from graphql_server.models import DatasetInfo
from graphql_server.titles import UNTRAINED

BATCH = 500
FILES_AT_ONCE = 4  # hashed in as many threads
BEFORE_ALL = -(1 << 63)
SELECT = """
SELECT i.pk, i.dataset_info_pk, i.uuid_file_name, i.content_type, i.width, i.height, i.byte_size, i.sha256, d.pk
FROM image_info i LEFT JOIN dataset_info d ON d.pk = i.dataset_info_pk
WHERE i.pk > ? ORDER BY i.pk LIMIT ?"""
# What is known stays, also where two doctors fill in the same row.
FILL_IN = """
UPDATE image_info SET content_type = COALESCE(content_type, ?), width = COALESCE(width, ?),
height = COALESCE(height, ?), byte_size = COALESCE(byte_size, ?), sha256 = COALESCE(sha256, ?)
WHERE pk = ?"""


class Image(NamedTuple):
    """An image's row; `found_dataset_pk` is None where `dataset_pk` leads nowhere."""

    pk: int
    dataset_pk: int | None
    file_name: str | None
    content_type: str | None
    width: int | None
    height: int | None
    byte_size: int | None
    sha256: str | None
    found_dataset_pk: int | None

    @property
    def place(self) -> str:
        return f"{self.dataset_pk}/{self.file_name}"

    @property
    def unmeasured(self) -> bool:
        return self.byte_size is None or self.sha256 is None


class Filling(NamedTuple):
    """What a file tells of its image, in the order of the statement."""

    content_type: str | None
    width: int | None
    height: int | None
    byte_size: int
    sha256: str
    pk: int


async def examine_datasets(examination: Examination) -> None:
    """Exactly one dataset is untrained; where none is, repairing opens one."""
    database, check = examination.database, examination.report.untrained
    ((check.examined,),) = await database.fetch("SELECT COUNT(*) FROM dataset_info")
    found = await database.fetch("SELECT pk FROM dataset_info WHERE untrained IS NOT NULL ORDER BY pk")
    for row in found[1:]:
        check.fail(f"dataset {row[0]} is untrained beside dataset {found[0][0]}")
    if not found:
        if examination.repair:
            await database.transact(_open_untrained)
        check.fail("no dataset is untrained", repaired=examination.repair)


async def _open_untrained(transaction: Transaction) -> None:
    now = datetime.now(UTC)
    with suppress(IntegrityError):  # Another doctor has opened one just now.
        await DatasetInfo.create(using_db=transaction.client, title=UNTRAINED, untrained=True, created_at=now)


async def examine_tallies(examination: Examination) -> None:
    """Each dataset's tally, and that of all images, is the number of its rows; repairing sets it right."""
    database, check = examination.database, examination.report.tallies
    ((datasets,),) = await database.fetch("SELECT COUNT(*) FROM dataset_info")
    check.examined = datasets + 1
    found = await tallies.wrong(database)
    if found and examination.repair:
        found = await database.transact(lambda transaction: tallies.mend(transaction, database.engine.name))
    for pk, missing in found.items():
        whose = f"dataset {pk}" if pk != tallies.ALL else "all datasets"
        check.fail(f"{whose}: {missing:+,} images to count", repaired=examination.repair)


async def examine_images(examination: Examination, max_pixels: int) -> None:
    """Every image has its dataset, and its file with the size and hash that are recorded.

    Repairing fills in what rows of the predecessor lack, a batch in one transaction.
    """
    ((total,),) = await examination.database.fetch("SELECT COUNT(*) FROM image_info")
    decoder = Decoder(FILES_AT_ONCE, max_pixels)
    images = Images(examination, decoder, total)
    last = BEFORE_ALL
    try:
        while batch := [Image(*row) for row in await examination.database.fetch(SELECT, (last, BATCH))]:
            fillings = await asyncio.gather(*(images.examine(image) for image in batch))
            await images.fill_in([filling for filling in fillings if filling])
            last = batch[-1].pk
    finally:
        decoder.close()


class Images:
    """Images under examination, a few at a time."""

    def __init__(self, examination: Examination, decoder: Decoder, total: int) -> None:
        self._examination, self._report = examination, examination.report
        self._decoder, self._total = decoder, total
        self._gate = asyncio.Semaphore(FILES_AT_ONCE)

    async def examine(self, image: Image) -> Filling | None:
        """Look for an image's dataset and file; gives what can be filled in."""
        async with self._gate:
            self._report.datasets.examined += 1
            if image.found_dataset_pk is None:
                self._report.datasets.fail(f"image {image.pk}: there is no dataset {image.dataset_pk}")
            self._report.files.examined += 1
            self._examination.progress.show("images", self._report.files.examined, self._total)
            try:
                return await self._compare(image)
            except NotFound:
                # A removal takes the row first: a file that is missing by right has no row any more.
                if await self._stays(image):
                    self._report.files.fail(f"image {image.pk}: {image.place} is missing")
            except StorageUnavailable as error:
                self._report.contents.fail(f"image {image.pk}: {image.place} cannot be read: {error.__cause__}")
            return None

    async def _stays(self, image: Image) -> bool:
        return bool(await self._examination.database.fetch("SELECT pk FROM image_info WHERE pk = ?", (image.pk,)))

    async def _compare(self, image: Image) -> Filling | None:
        byte_size, sha256 = await self._measure(image)
        self._report.contents.examined += not image.unmeasured
        if image.byte_size not in (None, byte_size):
            size = f"{byte_size:,} bytes instead of {image.byte_size:,}"
            self._report.contents.fail(f"image {image.pk}: {image.place} has {size}")
        elif image.sha256 not in (None, sha256):
            self._report.contents.fail(f"image {image.pk}: {image.place} has another hash than was recorded")
        elif self._examination.repair and None in image[:-1]:
            return await self._inspect(image, byte_size, sha256)
        elif image.unmeasured:
            self._report.unmeasured += 1
        else:
            self._report.undecodable += image.content_type is None
        return None

    async def _measure(self, image: Image) -> tuple[int, str]:
        opened = await self._examination.media.open(str(image.dataset_pk), str(image.file_name))
        try:
            return opened.found.byte_size, await asyncio.to_thread(_hash, opened.found.descriptor)
        except OSError as error:
            raise StorageUnavailable("the picture cannot be read") from error
        finally:
            opened.close()

    async def _inspect(self, image: Image, byte_size: int, sha256: str) -> Filling | None:
        self._report.measured += image.unmeasured
        try:
            picture = await self._decoder.inspect(self._examination.media.root / image.place)
        except ImageUnreadable:
            self._report.undecodable += 1
            return Filling(None, None, None, byte_size, sha256, image.pk) if image.unmeasured else None
        return Filling(picture.content_type, picture.width, picture.height, byte_size, sha256, image.pk)

    async def fill_in(self, fillings: list[Filling]) -> None:
        if fillings:
            await self._examination.database.transact(partial(_fill_in, fillings))


def _hash(descriptor: int) -> str:
    with open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _fill_in(fillings: list[Filling], transaction: Transaction) -> None:
    for filling in fillings:
        await transaction.fetch(FILL_IN, filling)
