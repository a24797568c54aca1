"""A request that is sent again, because its answer was lost, has its effect once.

The client sends a key of its choice along. The key is kept with what the request did, in the same transaction;
a request with a key that is there gets the same answer, and a different request with it is a conflict.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from tortoise.exceptions import IntegrityError

from graphql_server.database import Again, Database, Transaction
from graphql_server.errors import BadUserInput, Conflict
from graphql_server.models import IdempotencyKey

LONGEST = 255
KEPT = timedelta(days=7)
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Once:
    """The hash of a user's key and a fingerprint of the request that it stands for."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, user_pk: int | None, *request: object) -> "Once | None":
        """The key of a user's request, if it has one; BadUserInput where it cannot be one."""
        if key is None:
            return None
        if not 1 <= len(key) <= LONGEST or not key.isascii() or not key.isprintable():
            raise BadUserInput(f"An idempotencyKey has 1 to {LONGEST} printable ASCII characters.")
        # Hashed, as MySQL takes no notice of spaces at the end; with the user, as others may choose the same.
        return cls(_hash(user_pk, key), _hash(*request))


def _hash(*parts: object) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


async def recall(transaction: Transaction, once: Once | None) -> list[int]:
    """The keys of the rows that the request gave the first time, or none; Conflict for another request's key.

    Call it once the transaction has its lock: on MySQL the first plain read decides what a transaction sees.
    """
    if once is None:
        return []
    kept = await IdempotencyKey.get_or_none(key=once.key, using_db=transaction.client)
    if kept is None:
        return []
    if kept.fingerprint != once.fingerprint:
        raise Conflict("This idempotencyKey was sent with another request; choose a new one.")
    return orjson.loads(kept.pks)


async def remember(transaction: Transaction, once: Once | None, *pks: int) -> None:
    """Keep the key with the keys of the rows; where another transaction was quicker, this one is tried again."""
    if once is None:
        return
    try:
        await IdempotencyKey.create(
            using_db=transaction.client,
            key=once.key,
            fingerprint=once.fingerprint,
            pks=orjson.dumps(pks).decode(),
            created_at=datetime.now(UTC),
        )
    except IntegrityError:
        raise Again from None


async def forget(database: Database) -> None:
    """Remove the keys that are older than KEPT: nobody waits that long for an answer.

    They are removed by key and some at a time, because MySQL locks all rows that a DELETE looks at.
    """
    old = f"SELECT idempotency_key FROM idempotency_key WHERE created_at < ? LIMIT {AT_ONCE}"
    while keys := [row[0] for row in await database.fetch(old, [datetime.now(UTC) - KEPT])]:
        marks = ", ".join("?" * len(keys))
        await database.fetch(f"DELETE FROM idempotency_key WHERE idempotency_key IN ({marks})", keys)
