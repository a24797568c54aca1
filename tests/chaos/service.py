"""Whether a server gives errors while something is away, and full service once it is back."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.chaos.clients import fresh, send
from tests.front_door import codes
from tests.holdings import assert_whole
from tests.servers import Server
from tests.together import CREATE, REMOVE, Ask, asking, at_once, saving
from tests.waiting import wait_until

LIST = "{ datasets { nodes { pk } } images { nodes { pk } } }"
SLACK = 3.0  # what a busy machine may take longer than it should
RETURN_SECONDS = 10.0
READY_SECONDS = 2.0


def every_kind(pk: int) -> list[Ask]:
    """A request of each kind; `pk` is an image's."""
    return [asking(LIST), saving(fresh()), asking(CREATE, title="Lunch"), asking(REMOVE, pk=pk)]


def assert_errors(server: Server, asks: Sequence[Ask], code: str, seconds: float) -> None:
    """All get nothing but this error within the time, and health is told at once meanwhile."""
    answers = asyncio.run(_send(server, asks))
    found = [set(codes(answer)) for answer, _ in answers]
    assert found == [{code}] * len(asks), found
    longest = max(took for _, took in answers)
    assert longest < seconds + SLACK, f"{longest:.1f} seconds"


async def _send(server: Server, asks: Sequence[Ask]) -> list[tuple[dict[str, Any], float]]:
    sending = asyncio.gather(*(send(server, ask) for ask in asks))
    async with httpx.AsyncClient(verify=False) as other:
        while not sending.done():
            health = await other.get(f"{server.url}/healthz", timeout=SLACK)
            assert health.json() == {"status": "ok"}
            await asyncio.sleep(0.05)
    return await sending


def assert_not_ready(server: Server, failing: str) -> None:
    asked = time.monotonic()
    readiness = server.get("/readyz")
    assert (readiness.status_code, readiness.json()["failing"]) == (503, [failing])
    assert time.monotonic() - asked < READY_SECONDS + SLACK


def await_ready(server: Server) -> None:
    wait_until(lambda: server.get("/readyz").status_code == 200, RETURN_SECONDS)


def assert_full_service(server: Server, *, whole: bool = True) -> None:
    """Every kind of request succeeds within 10 seconds, and more of them at once than there are connections."""
    await_ready(server)
    wait_until(lambda: not _failures(server), RETURN_SECONDS)
    if whole:
        assert_whole(server.settings)


def _failures(server: Server) -> list[str]:
    """The codes of what fails; on a busy machine a transaction may take longer than it may."""
    saved = [server.upload(fresh()) for _ in range(3)]
    asks = [asking(REMOVE, pk=answer["data"]["saveFix"]["image"]["pk"]) for answer in saved if not codes(answer)]
    asks += [asking(LIST)] * 3 + [saving(fresh())] * 3
    sealed = server.result(CREATE, {"title": f"After {time.monotonic()}"})
    return [code for answer in (*saved, *at_once(server, asks), sealed) for code in codes(answer)]
