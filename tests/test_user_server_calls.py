"""Calls of a user server: who shares one, how many run at once, and what gives one up."""

import asyncio
import gc
import time

import pytest

from graphql_server.errors import UserServerUnavailable
from graphql_server.users import User
from tests.user_servers import TOKEN, Counting, asking, asking_socket

pytestmark = pytest.mark.anyio


async def test_concurrent_askers_of_one_token_share_one_call() -> None:
    server = Counting(seconds=0.1)
    async with asking(server, auth_cache_seconds=0.0) as users:
        answers = await asyncio.gather(*(users.authenticate(TOKEN) for _ in range(50)))
    assert answers == [User()] * 50
    assert server.asked == [TOKEN]


async def test_one_asker_who_gives_up_does_not_fail_the_others() -> None:
    server = Counting(seconds=0.2)
    async with asking(server) as users:
        askers = [asyncio.create_task(users.authenticate(TOKEN)) for _ in range(3)]
        await asyncio.sleep(0.05)
        askers[0].cancel()
        answers = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [User(), User()]
    assert server.asked == [TOKEN]


async def test_a_failure_that_nobody_waits_for_any_more_is_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Counting(status=500, seconds=0.1)
    async with asking(server) as users:
        asker = asyncio.create_task(users.authenticate(TOKEN))
        await asyncio.sleep(0.02)
        asker.cancel()
        await asyncio.wait([asker])
        del asker  # It holds the call, of which asyncio would complain when the last holder lets go.
        await asyncio.sleep(0.2)
        gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


async def test_at_most_100_tokens_are_asked_about_at_once_and_the_others_wait() -> None:
    server = Counting(seconds=0.1)
    async with asking(server, user_server_seconds=60.0) as users:
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(250)))
    assert answers == [User()] * 250
    assert server.most == 100


async def test_waiting_for_a_free_call_counts_as_waiting_for_the_answer() -> None:
    server = Counting(seconds=60)
    async with asking(server, user_server_seconds=2.0) as users:
        start = time.monotonic()
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(150)), return_exceptions=True)
        assert time.monotonic() - start < 10
        assert all(isinstance(answer, UserServerUnavailable) for answer in answers)
        server.seconds = 0
        assert await users.authenticate(TOKEN) == User()


async def test_a_hundred_hung_calls_leave_no_connection_that_blocks_the_next() -> None:
    hangs = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if hangs:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with asking_socket(talk, user_server_seconds=2.0) as users:
        answers = await asyncio.gather(*(users.authenticate(f"token-{n}") for n in range(120)), return_exceptions=True)
        assert all(isinstance(answer, UserServerUnavailable) for answer in answers)
        hangs = False
        assert await users.authenticate(TOKEN) == User()


async def test_closing_ends_the_calls_that_are_under_way() -> None:
    server = Counting(seconds=60)
    async with asking(server, user_server_seconds=60.0) as users:
        asker = asyncio.create_task(users.authenticate(TOKEN))
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asker, 30)
    assert server.now == 0
