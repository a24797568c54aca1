"""What makes an effect happen once: one image for each photo of a dataset, and the keys of requests.

A photo's hash stands in a column of its own beside `sha256`, because copies that were asked for must be possible.
"""

from graphql_server.engines import Session

KEYS = (
    "CREATE TABLE IF NOT EXISTS idempotency_key (idempotency_key VARCHAR(64) NOT NULL PRIMARY KEY, "
    "fingerprint VARCHAR(64) NOT NULL, pks VARCHAR(64) NOT NULL, created_at DATETIME(6) NOT NULL"
)
MYSQL_TABLE = ", INDEX idempotency_key_created (created_at)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
PRESENT = (
    "SELECT 1 FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = 'image_info' AND column_name = 'unique_sha256'"
)


async def apply(session: Session, engine: str) -> None:
    if engine == "sqlite":
        await session.fetch("ALTER TABLE image_info ADD COLUMN unique_sha256 VARCHAR(64)")
        await session.fetch(
            "CREATE UNIQUE INDEX image_info_unique_sha256 ON image_info (dataset_info_pk, unique_sha256)"
        )
        await session.fetch(KEYS + ")")
        await session.fetch("CREATE INDEX idempotency_key_created ON idempotency_key (created_at)")
        return
    if not await session.fetch(PRESENT):
        await session.fetch(
            "ALTER TABLE image_info ADD COLUMN unique_sha256 VARCHAR(64) NULL, "
            "ADD UNIQUE INDEX image_info_unique_sha256 (dataset_info_pk, unique_sha256)"
        )
    await session.fetch(KEYS + MYSQL_TABLE)
