"""Many clients who ask at the same moment."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import httpx
import orjson

from graphql_server.groups import Groups
from tests.servers import SAVE_FIX, Server

CREATE = "mutation($title: String!) { createDataset(input: {title: $title}) { dataset { pk title } untrained { pk } } }"
REMOVE = "mutation($pk: Int!) { removeImage(input: {pk: $pk}) { image { pk } dataset { pk } } }"
Ask = dict[str, Any]


def asking(query: str, **variables: Any) -> Ask:
    return {"json": {"query": query, "variables": variables}}


def saving(content: bytes, name: str = "photo.jpg", **input: Any) -> Ask:
    given = {"modelDegree": 90, "confidence": 0.75, "userFixDegree": 0, **input, "file": None}
    form = {
        "operations": orjson.dumps({"query": SAVE_FIX, "variables": {"input": given}}).decode(),
        "map": '{"0": ["variables.input.file"]}',
    }
    return {"data": form, "files": {"0": (name, content)}, "headers": {"graphql-require-preflight": "1"}}


def at_once(servers: Server | Sequence[Server], asks: Sequence[Ask], clients: int = 100) -> list[Any]:
    """Send all, over so many connections, to the servers in turn; gives the responses in the order of asking."""
    return [answer.json() for answer in asyncio.run(_send(servers, asks, clients))]


def come(groups: Groups[Any, Any]) -> int:
    """How many are in a group, or wait for one."""
    mine = cast("Any", groups)
    return len(mine._group) + len(mine._waiting)  # noqa: SLF001 - a server need not know


async def _send(servers: Server | Sequence[Server], asks: Sequence[Ask], clients: int) -> list[httpx.Response]:
    each = [servers] if isinstance(servers, Server) else servers
    # httpx may close a kept connection as too old in the moment in which it is given to a request.
    limits = httpx.Limits(max_connections=clients, keepalive_expiry=600)
    async with httpx.AsyncClient(verify=False, limits=limits, timeout=60, headers=each[0].headers) as client:
        urls = (f"{each[number % len(each)].url}/graphql" for number in range(len(asks)))
        return await asyncio.gather(*(client.post(url, **ask) for url, ask in zip(urls, asks, strict=False)))
