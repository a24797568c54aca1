"""Whether the database's user may do what a server does; SQLite has no users."""

from graphql_server.database import Database
from graphql_server.engines import Session
from graphql_server.errors import SettingsError

NEEDED = {
    "schema_migration": ("SELECT",),
    "dataset_info": ("SELECT", "INSERT", "UPDATE"),
    "image_info": ("SELECT", "INSERT", "DELETE"),
    "image_tally": ("SELECT", "INSERT", "UPDATE"),
    "idempotency_key": ("SELECT", "INSERT"),
    "dataset_change": ("SELECT", "INSERT"),
}
ALL = "SELECT, INSERT, UPDATE, DELETE"
# To explain a statement takes the privileges that the statement takes, and does nothing.
EXPLAIN = {
    "SELECT": "EXPLAIN SELECT 1 FROM {table}",
    "INSERT": "EXPLAIN INSERT INTO {table} VALUES ()",
    "UPDATE": "EXPLAIN UPDATE {table} SET pk = 0 WHERE 1 = 0",
    "DELETE": "EXPLAIN DELETE FROM {table} WHERE 1 = 0",
}


async def check(database: Database) -> None:
    """Raise SettingsError that names what is not granted, and the statement that grants it."""
    if database.engine.name == "sqlite":
        return
    async with database.engine.session() as session:
        denied = [
            f"{verb} on {table}"
            for table, verbs in NEEDED.items()
            for verb in verbs
            if await _denied(database, session, EXPLAIN[verb].format(table=table))
        ]
        if denied:
            ((user, name),) = await session.fetch("SELECT CURRENT_USER(), DATABASE()")
            account = "@".join(f"'{part}'" for part in str(user).rsplit("@", 1))
            raise SettingsError(
                f"DATABASE_URL: the user {account} lacks {', '.join(denied)}: GRANT {ALL} ON `{name}`.* TO {account}"
            )


async def _denied(database: Database, session: Session, sql: str) -> bool:
    try:
        await session.fetch(sql)
    except Exception as error:  # noqa: BLE001 - a database that is read-only, or not migrated, is others' to tell of
        return database.engine.failure(error).kind == "denied"
    return False
