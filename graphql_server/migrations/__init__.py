"""Brings a database to the tables that this version needs, an empty one or the predecessor's.

Migrations are written by hand and run under a lock. Tortoise's own schema tools are not used: on SQLite they
drop a parent's children when a column changes, they leave out indexes on renamed columns, and they take no lock.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from graphql_server.database import Database
from graphql_server.engines import Session
from graphql_server.errors import SettingsError
from graphql_server.migrations import (
    m0001_datasets_and_images,
    m0002_saved_once,
    m0003_saved_by,
    m0004_constant_cost,
    m0005_changes,
)

# A lock of the whole MySQL server, named for the database; a name has 64 characters at most.
LOCK = "CONCAT('dataset-server.', LEFT(SHA2(DATABASE(), 256), 32))"
LOCK_SECONDS = 600
LONGEST_STATEMENT = 24 * 3600.0

Migration = Callable[[Session, str], Awaitable[None]]
RECORD = (
    "CREATE TABLE IF NOT EXISTS schema_migration (name VARCHAR(100) NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"
)
TABLES = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'schema_migration'",
    "mysql": "SELECT 1 FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = 'schema_migration'",
}
MIGRATIONS: dict[str, Migration] = {
    "0001_datasets_and_images": m0001_datasets_and_images.apply,
    "0002_saved_once": m0002_saved_once.apply,
    "0003_saved_by": m0003_saved_by.apply,
    "0004_constant_cost": m0004_constant_cost.apply,
    "0005_changes": m0005_changes.apply,
}


async def run(url: str, said: Callable[[str], None]) -> None:
    """Migrate the database at an address; a statement may take as long as a large table needs."""
    database = await Database.open(url, pool=1, seconds=LONGEST_STATEMENT)
    try:
        await database.connect(create=True)
        await migrate(database, said)
    except Exception as error:
        if isinstance(error, SettingsError) or database.engine.failure(error).kind == "bug":
            raise
        # The account may lack a privilege, or the connection be lost.
        reason = error.args[-1] if error.args else type(error).__name__
        raise SettingsError(f"The migration broke off, run it again: {reason}") from None
    finally:
        await database.close()


async def migrate(database: Database, said: Callable[[str], None]) -> None:
    """Apply what is missing, one process at a time; `said` is told each name.

    On SQLite everything is one transaction. MySQL commits each change of a table by itself, so there each step
    looks first whether it has been taken, and a migration that was cut off is taken up again by the next run.
    """
    async with _locked(database) as session:
        if not await session.fetch(TABLES[database.engine.name]):
            await session.fetch(RECORD)
        for name in await _missing(session):
            said(name)
            await MIGRATIONS[name](session, database.engine.name)
            await session.fetch(
                "INSERT INTO schema_migration (name, applied_at) VALUES (?, ?)", [name, int(time.time())]
            )


async def check(database: Database) -> None:
    """Raise SettingsError unless every migration has been applied."""
    recorded = await database.fetch(TABLES[database.engine.name])
    applied = await database.fetch("SELECT name FROM schema_migration") if recorded else recorded
    if not {row[0] for row in applied}.issuperset(MIGRATIONS):
        raise SettingsError("The database has not been migrated: run graphql-server migrate")


async def _missing(session: Session) -> list[str]:
    applied = {row[0] for row in await session.fetch("SELECT name FROM schema_migration")}
    return [name for name in MIGRATIONS if name not in applied]


@asynccontextmanager
async def _locked(database: Database) -> AsyncGenerator[Session]:
    async with database.engine.session() as session:
        if database.engine.name == "sqlite":
            await session.begin()
            try:
                yield session
            except BaseException:
                await session.rollback()
                raise
            await session.commit()
            return
        ((taken,),) = await session.fetch(f"SELECT GET_LOCK({LOCK}, ?)", [LOCK_SECONDS])
        if taken != 1:
            raise SettingsError(f"Another process has been migrating this database for {LOCK_SECONDS} seconds")
        try:
            yield session
        finally:
            await session.fetch(f"SELECT RELEASE_LOCK({LOCK})")
