"""Each client's example of a subscription, run on a real server: it follows, comes back, and is told why it ends."""

from pathlib import Path

import pytest

from tests.interop.live import ENDS, assert_follows, refused
from tests.servers import Server


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.mark.parametrize("program", ENDS)
def test_a_client_follows_misses_nothing_and_ends_with_its_token(
    program: str, database_url: str, media_root: Path
) -> None:
    assert_follows(program, database_url, media_root)


@pytest.mark.parametrize("program", ENDS)
def test_a_client_whose_token_nobody_knows_is_told_so_and_does_not_try_again(program: str, server: Server) -> None:
    assert refused(program, server) == [{"ended": ENDS[program].for_strangers}]
