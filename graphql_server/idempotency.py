"""A request that is sent again, because its answer was lost, has its effect once.

The client sends a key of its choice along. The key is kept with what the request did, in the same transaction;
a request with a key that is there gets the same answer, and a different request with it is a conflict.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from tortoise.exceptions import IntegrityError

from graphql_server.database import Again, Transaction
from graphql_server.errors import BadUserInput, Conflict
from graphql_server.listings import among
from graphql_server.statements import inserting

LONGEST = 255
COLUMNS = ("idempotency_key", "fingerprint", "pks", "created_at")
RECALL = "SELECT idempotency_key, fingerprint, pks FROM idempotency_key WHERE {}"


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


async def recall(transaction: Transaction, *onces: Once | None) -> dict[Once | None, list[int] | Conflict]:
    """The keys of the rows that each request gave the first time, where there was one; Conflict for another request's.

    Call it once the transaction has its lock: on MySQL the first plain read decides what a transaction sees.
    """
    asked = {once.key: once for once in onces if once}
    if not asked:
        return {}
    chosen = among("idempotency_key", list(asked))
    rows = await transaction.fetch(RECALL.format(chosen.sql), chosen.args)
    return {asked[key]: _pks(asked[key], fingerprint, pks) for key, fingerprint, pks in rows}


def _pks(once: Once, fingerprint: str, pks: str) -> list[int] | Conflict:
    if once.fingerprint != fingerprint:
        return Conflict("This idempotencyKey was sent with another request; choose a new one.")
    return orjson.loads(pks)


async def remember(transaction: Transaction, given: Sequence[tuple[Once | None, Sequence[int]]]) -> None:
    """Keep keys with the keys of the rows; where another transaction was quicker, this one is tried again."""
    now = datetime.now(UTC)
    rows = [(once.key, once.fingerprint, orjson.dumps(pks).decode(), now) for once, pks in given if once]
    if not rows:
        return
    try:
        await transaction.insert(
            inserting("idempotency_key", COLUMNS, len(rows)), [value for row in rows for value in row]
        )
    except IntegrityError:
        raise Again from None
