"""How many images there are, kept beside them, because COUNT(*) takes the longer the more there are.

Each dataset has a tally, and all images together have one under a key that no dataset can have. A tally is the sum
of its parts: savers who all changed one row would wait for each other's commits, so each connection has a part of
its own. A part may be negative, since an image is often removed by another connection than the one that saved it.
"""

from collections.abc import Sequence

from graphql_server.engines import Fetching

TABLE = "image_tally"
COLUMNS = "dataset_info_pk BIGINT NOT NULL, part INTEGER NOT NULL, images BIGINT NOT NULL"
KEY = "PRIMARY KEY (dataset_info_pk, part)"
ALL = 2**31  # neither a key of the tables nor an Int of GraphQL, which clients may look for
PARTS = 32
MENDED = -1  # the part that what was found wrong is added to, and that nobody else changes
PART = {"sqlite": "0", "mysql": f"MOD(CONNECTION_ID(), {PARTS})"}
PRESENT = {"sqlite": "ON CONFLICT (dataset_info_pk, part) DO UPDATE SET", "mysql": "ON DUPLICATE KEY UPDATE"}
WRONG = f"""
SELECT dataset_info_pk, SUM(images) FROM (
    SELECT dataset_info_pk, COUNT(*) AS images FROM image_info GROUP BY dataset_info_pk
    UNION ALL SELECT {ALL}, COUNT(*) FROM image_info
    UNION ALL SELECT dataset_info_pk, -SUM(images) FROM {TABLE} GROUP BY dataset_info_pk
) AS counted GROUP BY dataset_info_pk HAVING SUM(images) <> 0 ORDER BY dataset_info_pk"""


async def add(transaction: Fetching, engine: str, dataset_pk: int, images: int) -> None:
    """Count images of a dataset that the transaction has inserted, or removed if negative.

    Call it late in the transaction: whoever has the same part waits from here on.
    """
    part = PART[engine]
    await transaction.fetch(
        f"INSERT INTO {TABLE} (dataset_info_pk, part, images) VALUES ({ALL}, {part}, ?), (?, {part}, ?) "
        f"{PRESENT[engine]} images = {TABLE}.images + ?",
        [images, dataset_pk, images, images],
    )


async def read(database: Fetching, pks: Sequence[int | None]) -> list[int]:
    """How many images these datasets have, each; for None, how many there are, by the same statement."""
    keys = [ALL if pk is None else pk for pk in pks]
    marks = ", ".join("?" * len(keys))
    found = await database.fetch(
        f"SELECT dataset_info_pk, SUM(images) FROM {TABLE} WHERE dataset_info_pk IN ({marks}) GROUP BY dataset_info_pk",
        keys,
    )
    images = {pk: int(number) for pk, number in found}
    return [images.get(key, 0) for key in keys]


async def wrong(database: Fetching) -> dict[int, int]:
    """How many images are missing from each tally that is wrong; it reads all images."""
    return {pk: int(images) for pk, images in await database.fetch(WRONG)}


async def mend(transaction: Fetching, engine: str) -> dict[int, int]:
    """Set right what is wrong, beside others who save and remove; gives what was missing.

    Whoever changes images changes their tally in the same transaction, so that what is missing stays the same
    meanwhile. Only another who mends must wait; on MySQL the first plain read decides what a transaction sees, so
    the lock comes before it.
    """
    await transaction.fetch(
        f"INSERT INTO {TABLE} (dataset_info_pk, part, images) VALUES ({ALL}, {MENDED}, 0) "
        f"{PRESENT[engine]} images = {TABLE}.images"
    )
    found = await wrong(transaction)
    if found:
        kept = dict(await transaction.fetch(f"SELECT dataset_info_pk, images FROM {TABLE} WHERE part = {MENDED}"))
        values = ", ".join(f"({pk}, {MENDED}, {kept.get(pk, 0) + images})" for pk, images in found.items())
        await transaction.fetch(f"REPLACE INTO {TABLE} (dataset_info_pk, part, images) VALUES {values}")
    return found
