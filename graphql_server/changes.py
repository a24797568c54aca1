"""What was changed, in the order of the changes: written with the change itself, read by those who follow it.

A key is given when a row is inserted and seen when its transaction commits, so that a lower key may be seen after
a higher one. Whoever reads on after the higher one would miss it. `graphql_server.feed` therefore waits at a gap.
"""

from datetime import UTC, datetime
from enum import Enum

from graphql_server.database import Transaction
from graphql_server.statements import inserting

COLUMNS = ("kind", "dataset_info_pk", "image_info_pk", "created_at")


class Kind(Enum):
    """What happened to a dataset."""

    OPENED = "OPENED"
    SEALED = "SEALED"
    IMAGE_SAVED = "IMAGE_SAVED"
    IMAGE_REMOVED = "IMAGE_REMOVED"


async def record(transaction: Transaction, kind: Kind, dataset_pk: int, *image_pks: int) -> None:
    """Keep a change of a dataset, or one for each image.

    Call it last in the transaction, so that the keys are seen soon after they were given.
    """
    now = datetime.now(UTC)
    pks = image_pks or [None]
    values = [value for pk in pks for value in (kind.value, dataset_pk, pk, now)]
    await transaction.fetch(inserting("dataset_change", COLUMNS, len(pks)), values)
