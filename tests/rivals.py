"""Rivals of the server in its database."""

import asyncio
from typing import Any

from graphql_server.database import Database
from tests.chaos.mysql import await_lock
from tests.servers import Server, statements_sent
from tests.together import CREATE


async def name_against_a_rival(server: Server) -> tuple[dict[str, Any], int]:
    """Name the dataset while somebody holds the title and then wants the dataset; gives the answer and the tries."""
    database = await Database.open(server.settings.database_url)
    with statements_sent() as sent:
        async with database.engine.session() as rival:
            await rival.begin()
            # With many rows the rival is the costlier one to roll back, so that the server has to give way.
            for key in ("lunch", *(f"title {number}" for number in range(20))):
                await rival.fetch("INSERT INTO dataset_info (title_key) VALUES (?)", [key])
            naming = asyncio.create_task(asyncio.to_thread(server.result, CREATE, {"title": "Lunch"}))
            await asyncio.to_thread(await_lock, server.settings.database_url)
            await rival.fetch("SELECT pk FROM dataset_info WHERE untrained = 1 FOR UPDATE")
            await rival.rollback()
        answer = await naming
    await database.close()
    return answer, updates_in(sent)


def updates_in(statements: list[str]) -> int:
    return sum(statement.startswith("UPDATE `dataset_info`") for statement in statements)
