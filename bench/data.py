"""A database full of images: the same rows on every machine, made by the database itself."""

import asyncio
from dataclasses import dataclass

from graphql_server import migrations, tallies
from graphql_server.database import Database
from graphql_server.engines import Session
from tests import mysql

DATASETS = 50
LARGE, EMPTY = 2, 50  # every second batch goes into the large dataset
BATCH = 100  # images that a dataset gets in a row
AT_ONCE = 100_000
SECONDS = 3600.0
CACHE_BYTES = 4 << 30
DIGIT = "(SELECT 0 d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10)) + ")"
NUMBERS = (
    "SELECT a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d + ? AS n "
    f"FROM {DIGIT} a, {DIGIT} b, {DIGIT} c, {DIGIT} e, {DIGIT} f"
)
HASH = "SHA2(n, 256)"
PARTS = [f"MID({HASH}, {at}, {length})" for at, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
IMAGE = {
    "pk": "n",
    "dataset_info_pk": f"IF(MOD(n DIV {BATCH}, 2) = 0, {LARGE}, 1 + MOD(CRC32(n DIV {BATCH}), {DATASETS - 1}))",
    "original_file_name": "CONCAT('IMG_', n, '.jpg')",
    "uuid_file_name": f"CONCAT(CONCAT_WS('-', {', '.join(PARTS)}), '.jpg')",
    "exif_degree": "90 * MOD(CRC32(CONCAT('exif', n)), 4)",
    "model_degree": "90 * MOD(CRC32(CONCAT('model', n)), 5)",
    "confidence": "CRC32(CONCAT('confidence', n)) / 4294967295",
    "user_fix_degree": "IF(MOD(CRC32(CONCAT('wrong', n)), 200) = 0, 90 * (1 + MOD(n, 3)), 0)",
    "content_type": "'image/jpeg'",
    "width": "640",
    "height": "480",
    "byte_size": "60000",
    "sha256": HASH,
    "unique_sha256": HASH,
    "created_at": "'2026-01-01' + INTERVAL n SECOND",
}
INDEXES = """
SELECT index_name, MIN(non_unique), GROUP_CONCAT(column_name ORDER BY seq_in_index) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'image_info' AND index_name NOT IN ('PRIMARY', 'image_info_dataset_pk')
GROUP BY index_name"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with so many images, and the process that serves it."""

    url: str
    images: int
    pid: int


async def fill(server_url: str, images: int) -> Filled:
    """Make a database with so many images, in millions of them about a minute each."""
    url = await asyncio.to_thread(mysql.make, server_url)
    await migrations.run(url, lambda _name: None)
    database = await Database.open(url, pool=1, seconds=SECONDS)
    try:
        async with database.engine.session() as session:
            await _fill(session, images)
            ((pid_file,),) = await session.fetch("SELECT @@pid_file")
    finally:
        await database.close()
    with open(pid_file, encoding="ascii") as file:  # noqa: ASYNC230, PTH123 - once, and for the path that MySQL says
        return Filled(url, images, int(file.read()))


async def _fill(session: Session, images: int) -> None:
    await session.fetch(f"SET GLOBAL innodb_buffer_pool_size = {CACHE_BYTES}")
    titles = [f"Dataset {pk}" for pk in range(2, DATASETS + 1)]
    await session.fetch(f"INSERT INTO dataset_info (title) VALUES {', '.join('(?)' for _ in titles)}", titles)
    # Indexes that are made afterwards take a tenth of the time.
    indexes = await session.fetch(INDEXES)
    await session.fetch("ALTER TABLE image_info " + ", ".join(f"DROP INDEX {name}" for name, _, _ in indexes))
    columns, values = ", ".join(IMAGE), ", ".join(IMAGE.values())
    for start in range(0, images, AT_ONCE):
        numbers = f"SELECT n FROM ({NUMBERS}) numbers WHERE n BETWEEN 1 AND ?"
        await session.fetch(
            f"INSERT INTO image_info ({columns}) SELECT {values} FROM ({numbers}) chosen", [start + 1, images]
        )
    made = [f"ADD {'' if several else 'UNIQUE '}INDEX {name} ({names})" for name, several, names in indexes]
    await session.fetch("ALTER TABLE image_info " + ", ".join(made))
    await session.begin()
    await tallies.mend(session, "mysql")
    await session.commit()
    await session.fetch("ANALYZE TABLE dataset_info, image_info")
