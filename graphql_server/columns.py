"""What the columns of the tables are sure to hold, by the database's own word."""

from collections.abc import Mapping

from graphql_server import datasets, images
from graphql_server.database import Database
from graphql_server.planner import Sure

# What the driver makes of MySQL's types. A BIGINT, and what has no sign, may hold numbers that are no GraphQL Int.
TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int"), int),
    **dict.fromkeys(("float", "double"), float),
    **dict.fromkeys(("char", "varchar", "text"), str),
}
DECLARED = """SELECT table_name, column_name, data_type, column_type, is_nullable FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name IN (?, ?)"""


async def sure(database: Database) -> Mapping[tuple[str, str], Sure]:
    """What each column of a table holds, where that is sure; SQLite takes anything in any column."""
    if database.engine.name == "sqlite":
        return {}
    rows = await database.fetch(DECLARED, (datasets.TABLE.name, images.TABLE.name))
    return {
        (table, column): Sure(TYPES[name], nullable == "YES")
        for table, column, name, declared, nullable in rows
        if name in TYPES and "unsigned" not in declared
    }
