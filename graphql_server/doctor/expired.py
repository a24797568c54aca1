"""What is kept for some days only: the keys of requests, and the list of changes."""

from datetime import UTC, datetime, timedelta

from graphql_server.database import Database
from graphql_server.listings import among

KEPT = timedelta(days=7)
AT_ONCE = 1000
# By table and key, what is old of it.
OLD = {
    ("idempotency_key", "idempotency_key"): "created_at < ?",  # Nobody waits that long for an answer.
    # Never the newest change, by which a cursor's age is told.
    ("dataset_change", "pk"): "created_at < ? AND pk < (SELECT MAX(pk) FROM dataset_change)",
}


async def forget(database: Database) -> None:
    """Remove what is older than KEPT, by key and some at a time: MySQL locks all rows that a DELETE looks at."""
    before = datetime.now(UTC) - KEPT
    for (table, key), old in OLD.items():
        select = f"SELECT {key} FROM {table} WHERE {old} LIMIT {AT_ONCE}"
        while keys := [row[0] for row in await database.fetch(select, [before])]:
            chosen = among(key, keys)
            await database.fetch(f"DELETE FROM {table} WHERE {chosen.sql}", chosen.args)
