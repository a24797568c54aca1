"""The two tables: made anew, or the predecessor's taken over with every row, key and file name.

The predecessor's tables have no foreign key, no index and the character set utf8; its titles may be doubled
or empty; a race may have left several rows titled "untrained" or, after a crash, none at the end.
"""

from datetime import UTC, datetime
from typing import Any

from graphql_server.engines import Session
from graphql_server.titles import UNTRAINED, key_of

COLUMNS = {
    "dataset_info": {
        "title_key": "VARCHAR(300)",
        "untrained": "TINYINT",
        "created_at": "DATETIME(6)",
        "sealed_at": "DATETIME(6)",
    },
    "image_info": {
        "content_type": "VARCHAR(32)",
        "width": "INTEGER",
        "height": "INTEGER",
        "byte_size": "BIGINT",
        "sha256": "VARCHAR(64)",
        "created_at": "DATETIME(6)",
    },
}
WIDTHS = {"dataset_info": {"title": 100}, "image_info": {"original_file_name": 255, "uuid_file_name": 64}}
INDEXES = {
    "dataset_info": {
        "dataset_info_untrained": "UNIQUE INDEX {} (untrained)",
        "dataset_info_title_key": "UNIQUE INDEX {} (title_key)",
        "dataset_info_title": "INDEX {} (title, pk)",
    },
    "image_info": {
        "image_info_dataset_pk": "INDEX {} (dataset_info_pk, pk)",
        "image_info_dataset_confidence": "INDEX {} (dataset_info_pk, confidence, pk)",
        "image_info_dataset_name": "INDEX {} (dataset_info_pk, original_file_name, pk)",
        "image_info_dataset_sha256": "INDEX {} (dataset_info_pk, sha256)",
        "image_info_confidence": "INDEX {} (confidence, pk)",
        "image_info_name": "INDEX {} (original_file_name, pk)",
        "image_info_uuid": "INDEX {} (uuid_file_name)",
    },
}
RULES = {
    "dataset_info": {"dataset_info_one_untrained": "CHECK (untrained = 1)"},
    "image_info": {
        "image_info_dataset": "FOREIGN KEY (dataset_info_pk) REFERENCES dataset_info (pk)",
    },
}
PREDECESSOR = {
    "dataset_info": "pk INTEGER NOT NULL {key}, title VARCHAR(100)",
    "image_info": "pk INTEGER NOT NULL {key}, dataset_info_pk INTEGER, original_file_name VARCHAR(40), "
    "uuid_file_name VARCHAR(40), exif_degree INTEGER, model_degree INTEGER, confidence DOUBLE, user_fix_degree INTEGER",
}


async def apply(session: Session, engine: str) -> None:
    if engine == "sqlite":
        await _make(session)
    else:
        for table in PREDECESSOR:
            await _take_over(session, table)
    await _open_untrained(session)
    if engine == "mysql":
        await _adopt_orphans(session)
    await _key_titles(session)
    if engine == "mysql":
        await _constrain(session)


async def _make(session: Session) -> None:
    key = "PRIMARY KEY AUTOINCREMENT"  # never gives the key of a removed row to another
    for table, columns in PREDECESSOR.items():
        added = "".join(f", {name} {kind}" for name, kind in COLUMNS[table].items())
        rules = "".join(f", CONSTRAINT {name} {rule}" for name, rule in RULES[table].items())
        await session.fetch(f"CREATE TABLE IF NOT EXISTS {table} ({columns.format(key=key)}{added}{rules})")
        for name, index in INDEXES[table].items():
            made = index.format(f"IF NOT EXISTS {name} ON {table}")
            await session.fetch(f"CREATE {made}")


async def _take_over(session: Session, table: str) -> None:
    """One ALTER for all that is missing, so that a large table is copied once."""
    columns = PREDECESSOR[table].format(key="PRIMARY KEY AUTO_INCREMENT")
    await session.fetch(
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    )
    present = {
        row[0]: row[1]
        for row in await session.fetch(
            "SELECT column_name, character_maximum_length FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = ?",
            [table],
        )
    }
    changes = [f"ADD COLUMN {name} {kind} NULL" for name, kind in COLUMNS[table].items() if name not in present]
    changes += [
        f"MODIFY {name} VARCHAR({width}) NULL" for name, width in WIDTHS[table].items() if present[name] < width
    ]
    if await _table_option(session, table, "table_collation") != "utf8mb4_bin":
        changes.append("CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    if (await _table_option(session, table, "engine")).lower() != "innodb":
        changes.append("ENGINE=InnoDB")
    if changes:
        await session.fetch(f"ALTER TABLE {table} {', '.join(changes)}")


async def _table_option(session: Session, table: str, option: str) -> str:
    ((value,),) = await session.fetch(
        f"SELECT {option} FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
        [table],
    )
    return value


async def _open_untrained(session: Session) -> None:
    """The predecessor saved into the row with the highest key; it is the open one if it is still called so."""
    if await session.fetch("SELECT pk FROM dataset_info WHERE untrained = 1"):
        return
    now = datetime.now(UTC)
    last = await session.fetch("SELECT pk, title FROM dataset_info ORDER BY pk DESC LIMIT 1")
    if last and last[0][1] == UNTRAINED:
        await session.fetch("UPDATE dataset_info SET untrained = 1 WHERE pk = ?", [last[0][0]])
    else:
        await session.fetch(
            "INSERT INTO dataset_info (title, untrained, created_at) VALUES (?, 1, ?)", [UNTRAINED, now]
        )


async def _key_titles(session: Session) -> None:
    """Of datasets with the same title the first holds its key, so that no new one can take it."""
    rows: Any = await session.fetch("SELECT pk, title, title_key, untrained FROM dataset_info ORDER BY pk")
    taken = {key for _, _, key, _ in rows if key}
    for pk, title, key, untrained in rows:
        wanted = key_of(title or "")
        if untrained or key or not wanted or wanted == UNTRAINED or wanted in taken:
            continue
        taken.add(wanted)
        await session.fetch("UPDATE dataset_info SET title_key = ? WHERE pk = ?", [wanted, pk])


async def _adopt_orphans(session: Session) -> None:
    """Images whose dataset is gone get one again, under the key that their files lie in."""
    orphans = await session.fetch(
        "SELECT DISTINCT i.dataset_info_pk FROM image_info i LEFT JOIN dataset_info d ON d.pk = i.dataset_info_pk "
        "WHERE d.pk IS NULL AND i.dataset_info_pk > 0"
    )
    for (pk,) in orphans:
        title = f"recovered {pk}"
        await session.fetch("INSERT INTO dataset_info (pk, title) VALUES (?, ?)", [pk, title])
    lost = "WHERE dataset_info_pk IS NULL OR dataset_info_pk <= 0"
    if await session.fetch(f"SELECT pk FROM image_info {lost} LIMIT 1"):
        await session.begin()  # cut off between the two, the next run would open another dataset
        await session.fetch("INSERT INTO dataset_info (title) VALUES ('recovered')")
        await session.fetch(f"UPDATE image_info SET dataset_info_pk = LAST_INSERT_ID() {lost}")
        await session.commit()


async def _constrain(session: Session) -> None:
    indexes = await _names(session, "statistics", "index_name")
    rules = await _names(session, "table_constraints", "constraint_name")
    for table in PREDECESSOR:
        clauses = [f"ADD {index.format(name)}" for name, index in INDEXES[table].items() if name not in indexes]
        clauses += [f"ADD CONSTRAINT {name} {rule}" for name, rule in RULES[table].items() if name not in rules]
        if table == "image_info" and clauses:
            clauses.insert(0, "MODIFY dataset_info_pk INTEGER NOT NULL")
        if clauses:
            await session.fetch(f"ALTER TABLE {table} {', '.join(clauses)}")


async def _names(session: Session, view: str, column: str) -> set[str]:
    rows = await session.fetch(
        f"SELECT DISTINCT {column} FROM information_schema.{view} WHERE table_schema = DATABASE()"
    )
    return {row[0] for row in rows}
