"""What keeps counts and lists of rare mistakes as quick with ten million images as with ten: tallies and an index.

`model_was_wrong` is computed from `user_fix_degree` by the database itself; it takes no room but in its indexes.
"""

from graphql_server import tallies
from graphql_server.engines import Session

COLUMN = "model_was_wrong TINYINT GENERATED ALWAYS AS (user_fix_degree NOT IN (0, 360)) VIRTUAL"
INDEXES = {
    "image_info_dataset_wrong": "(dataset_info_pk, model_was_wrong, pk)",
    "image_info_wrong": "(model_was_wrong, pk)",
}
PRESENT = (
    "SELECT 1 FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = 'image_info' AND column_name = 'model_was_wrong'"
)
INDEXED = (
    "SELECT 1 FROM information_schema.statistics "
    "WHERE table_schema = DATABASE() AND table_name = 'image_info' AND index_name = 'image_info_wrong'"
)


async def apply(session: Session, engine: str) -> None:
    made = f"CREATE TABLE IF NOT EXISTS {tallies.TABLE} ({tallies.COLUMNS}, {tallies.KEY})"
    if engine == "sqlite":
        await session.fetch(f"ALTER TABLE image_info ADD COLUMN {COLUMN}")
        for name, columns in INDEXES.items():
            await session.fetch(f"CREATE INDEX {name} ON image_info {columns}")
        await session.fetch(made)
        await tallies.mend(session, engine)
        return
    if not await session.fetch(PRESENT):
        await session.fetch(f"ALTER TABLE image_info ADD COLUMN {COLUMN}")
    if not await session.fetch(INDEXED):
        added = ", ".join(f"ADD INDEX {name} {columns}" for name, columns in INDEXES.items())
        await session.fetch(f"ALTER TABLE image_info {added}")
    await session.fetch(f"{made} ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin")
    await session.begin()
    await tallies.mend(session, engine)
    await session.commit()
