"""The list of changes that subscribers are told of; what happened before it was kept is not in it."""

from graphql_server.engines import Session

CHANGES = (
    "CREATE TABLE IF NOT EXISTS dataset_change (pk INTEGER NOT NULL PRIMARY KEY {}, kind VARCHAR(16) NOT NULL, "
    "dataset_info_pk INTEGER NOT NULL, image_info_pk INTEGER NULL, created_at DATETIME(6) NOT NULL"
)
MYSQL_TABLE = ", INDEX dataset_change_created (created_at)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


async def apply(session: Session, engine: str) -> None:
    if engine == "sqlite":
        await session.fetch(CHANGES.format("AUTOINCREMENT") + ")")
        await session.fetch("CREATE INDEX dataset_change_created ON dataset_change (created_at)")
    else:
        await session.fetch(CHANGES.format("AUTO_INCREMENT") + MYSQL_TABLE)
