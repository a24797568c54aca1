"""Datasets: the untrained one is locked to save into it, and sealed to name it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

from tortoise.exceptions import IntegrityError

from graphql_server import titles
from graphql_server.changes import Kind, record
from graphql_server.database import Again, Database, Transaction
from graphql_server.engines import Row
from graphql_server.errors import Conflict, DatabaseUnavailable
from graphql_server.idempotency import Once, recall, remember
from graphql_server.listings import Condition, Order, Table, matching
from graphql_server.models import DatasetInfo, columns_of
from graphql_server.pages import rows_of

TABLE = Table(
    name="dataset_info",
    columns=columns_of(DatasetInfo, without="title_key"),
    parent=None,
    indexes={(False, None): "PRIMARY", (False, "title"): "dataset_info_title"},
)
NONE_OPEN = "No dataset is untrained; the operator opens one by graphql-server doctor --repair."
CREATED = Order("CREATED_AT")
TITLE = Order("TITLE", "title")


def conditions(*, title: str | None, title_contains: str | None, is_untrained: bool | None) -> tuple[Condition, ...]:
    """What a list of datasets is narrowed by; None asks for nothing."""
    found = [*matching("title", title, title_contains)]
    if is_untrained is not None:
        found.append(Condition("untrained = 1" if is_untrained else "untrained IS NULL"))
    return tuple(found)


async def untrained(database: Database, columns: tuple[str, ...]) -> Row:
    """The open dataset's row; DatabaseUnavailable where there is none."""
    rows = await database.fetch(f"SELECT {', '.join(columns)} FROM {TABLE.name} WHERE untrained = 1")
    if not rows:
        raise DatabaseUnavailable(NONE_OPEN)
    return rows[0]


async def lock_untrained(database: Database, transaction: Transaction) -> int:
    """Keep the open dataset open until the transaction ends, and give its key; saves may share the lock."""
    share = " LOCK IN SHARE MODE" if database.engine.name == "mysql" else ""
    rows = await transaction.fetch(f"SELECT pk FROM {TABLE.name} WHERE untrained = 1{share}")
    if not rows:
        await _missed(transaction)
    return rows[0][0]


async def _missed(transaction: Transaction) -> NoReturn:
    """Tell a dataset that was sealed while its lock was waited for from one that is not there at all."""
    # A plain read sees the database as of one moment, and at each moment a seal has happened as a whole or not at all.
    if await transaction.fetch(f"SELECT pk FROM {TABLE.name} WHERE untrained = 1"):
        raise Again
    raise DatabaseUnavailable(NONE_OPEN)


async def seal(
    database: Database, title: str, idempotency_key: str | None = None, user_pk: int | None = None
) -> tuple[Row, Row]:
    """Title the untrained dataset, close it and open a fresh one; gives both rows, the sealed one first.

    Raises BadUserInput where the title cannot be one, and Conflict where another dataset has it or the key
    was sent with another title.
    """
    title = titles.checked(title)
    once = Once.of(idempotency_key, user_pk, "createDataset", title)
    try:
        return await database.transact(partial(_seal, title, once))
    except IntegrityError:
        raise Conflict(f"There is a dataset titled '{title}' already; choose another title.") from None


async def _seal(title: str, once: Once | None, transaction: Transaction) -> tuple[Row, Row]:
    now = datetime.now(UTC)
    open_ones = DatasetInfo.filter(untrained=True).using_db(transaction.client)
    dataset = await open_ones.select_for_update().first()
    if dataset is None:
        await _missed(transaction)
    done = (await recall(transaction, once)).get(once)
    if isinstance(done, Conflict):
        raise done
    if done:
        return await _both(transaction, done)
    await open_ones.update(title=title, title_key=titles.key_of(title), untrained=None, sealed_at=now)
    opened = await DatasetInfo.create(
        using_db=transaction.client, title=titles.UNTRAINED, untrained=True, created_at=now
    )
    pks = [dataset.id, opened.id]
    await remember(transaction, [(once, pks)])
    # Whoever has sealed must not need another connection to be told so.
    rows = await _both(transaction, pks)
    await record(transaction, Kind.SEALED, dataset.id)
    await record(transaction, Kind.OPENED, opened.id)
    return rows


async def _both(transaction: Transaction, pks: Sequence[int]) -> tuple[Row, Row]:
    rows = await rows_of(transaction, TABLE, pks)
    sealed, opened = (rows[pk] for pk in pks)
    return sealed, opened
