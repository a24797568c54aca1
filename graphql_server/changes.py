"""What was changed, in the order of the changes: written with the change itself, read by those who follow it.

A key is given when a row is inserted and seen when its transaction commits, so that a lower key may be seen after
a higher one. Whoever reads on behind a key would miss it. `graphql_server.feed` therefore waits at a gap.
"""

from datetime import UTC, datetime, timedelta
from enum import Enum

from graphql_server.database import Database, Transaction

KEPT = timedelta(days=7)
AT_ONCE = 1000
CHANGE = "INSERT INTO dataset_change (kind, dataset_info_pk, image_info_pk, created_at) VALUES (?, ?, ?, ?)"


class Kind(Enum):
    """What happened to a dataset."""

    OPENED = "OPENED"
    SEALED = "SEALED"
    IMAGE_SAVED = "IMAGE_SAVED"
    IMAGE_REMOVED = "IMAGE_REMOVED"


async def record(transaction: Transaction, kind: Kind, dataset_pk: int, image_pk: int | None = None) -> None:
    """Keep a change; call it last in its transaction, so that its key is seen soon after it was given."""
    await transaction.fetch(CHANGE, [kind.value, dataset_pk, image_pk, datetime.now(UTC)])


async def forget(database: Database) -> None:
    """Remove the changes that are older than KEPT, but never the newest, by which a cursor's age is told."""
    old = (
        "SELECT pk FROM dataset_change WHERE created_at < ? AND pk < (SELECT MAX(pk) FROM dataset_change) "
        f"LIMIT {AT_ONCE}"
    )
    while pks := [row[0] for row in await database.fetch(old, [datetime.now(UTC) - KEPT])]:
        marks = ", ".join("?" * len(pks))
        await database.fetch(f"DELETE FROM dataset_change WHERE pk IN ({marks})", pks)
