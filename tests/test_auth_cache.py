"""Answers of a user server that are remembered: which, for how long, and how many."""

import httpx
import pytest

from graphql_server import users as remembering
from graphql_server.errors import Unauthenticated, UserServerUnavailable
from graphql_server.users import User
from tests.user_servers import TOKEN, Counting, asking
from tests.waiting import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of those who remember answers."""
    monkeypatch.setattr(remembering, "time", clock := Clock())
    return clock


async def test_a_yes_is_remembered_for_its_time_and_no_longer(clock: Clock) -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=0.4) as users:
        for _ in range(5):
            await users.authenticate(TOKEN)
        clock.now += 0.39
        await users.authenticate(TOKEN)
        assert len(server.asked) == 1
        server.status = 401
        clock.now += 0.02
        with pytest.raises(Unauthenticated):
            await users.authenticate(TOKEN)


async def test_the_time_of_an_answer_runs_from_its_question(clock: Clock) -> None:
    asked = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        clock.now += 0.4
        return httpx.Response(200)

    async with asking(answer, auth_cache_seconds=0.5) as users:
        for seconds, times in ((0, 1), (0.05, 1), (0.1, 2)):
            clock.now += seconds
            await users.authenticate(TOKEN)
            assert asked == times


async def test_a_cache_of_0_seconds_asks_every_time() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=0.0) as users:
        for _ in range(3):
            await users.authenticate(TOKEN)
    assert len(server.asked) == 3


@pytest.mark.parametrize(("cache_seconds", "until_asked"), [(0.3, 0.3), (60.0, 1.0)])
async def test_a_no_is_remembered_no_longer_than_a_yes_and_at_most_a_second(
    cache_seconds: float, until_asked: float, clock: Clock
) -> None:
    server = Counting(status=401)
    async with asking(server, auth_cache_seconds=cache_seconds) as users:
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await users.authenticate(TOKEN)
        clock.now += until_asked - 0.05
        with pytest.raises(Unauthenticated):
            await users.authenticate(TOKEN)
        assert len(server.asked) == 1
        server.status = 200
        clock.now += 0.1
        assert await users.authenticate(TOKEN) == User()


async def test_unavailable_is_not_remembered() -> None:
    server = Counting(status=503)
    async with asking(server) as users:
        with pytest.raises(UserServerUnavailable):
            await users.authenticate(TOKEN)
        server.status = 200
        assert await users.authenticate(TOKEN) == User()


async def test_the_oldest_of_ten_thousand_answers_makes_room_for_a_new_one() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=300.0) as users:
        for number in range(10_001):
            await users.authenticate(f"token-{number}")
        server.asked.clear()
        await users.authenticate("token-10000")
        await users.authenticate("token-1")
        assert server.asked == []
        await users.authenticate("token-0")
        assert server.asked == ["token-0"]


async def test_a_flood_of_made_up_tokens_pushes_no_user_out() -> None:
    server = Counting()
    async with asking(server, auth_cache_seconds=300.0) as users:
        await users.authenticate(TOKEN)
        server.status = 401
        for number in range(10_001):
            with pytest.raises(Unauthenticated):
                await users.authenticate(f"made-up-{number}")
        assert await users.authenticate(TOKEN) == User()
