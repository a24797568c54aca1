"""What every client that follows must see: each change once and in order, over a break too, and why it ends."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.chaos.relay import relaying
from tests.interop.programs import EXAMPLES, NODE, run
from tests.live import START
from tests.photos import photo
from tests.processes import environment
from tests.servers import TOKEN, Server, running, settings_for


class End(NamedTuple):
    """What a client says when its token has died, and when it never was good."""

    for_the_dead: str
    for_strangers: str


FORBIDDEN = End("4403 Forbidden: the token has died", "4403 Forbidden: The user server refuses this token.")
APOLLO = End(*(f"Socket closed with event {end}" for end in FORBIDDEN))
UNAUTHENTICATED = End("UNAUTHENTICATED", "UNAUTHENTICATED")
ENDS = {
    "graphql-ws.ts": FORBIDDEN,
    "urql.ts": FORBIDDEN,
    "apollo-client.ts": APOLLO,
    "apollo-multipart.ts": UNAUTHENTICATED,
    "graphql-sse.ts": UNAUTHENTICATED,
}
SEAL = 'mutation { createDataset(input: {title: "Lunch"}) { dataset { pk } } }'


class Follower(NamedTuple):
    """A program that prints a line for each change."""

    popen: subprocess.Popen[str]

    def line(self) -> dict[str, Any]:
        assert self.popen.stdout
        text = self.popen.stdout.readline()
        assert text, "the program ended"
        return orjson.loads(text)


@contextmanager
def following(program: str, url: str) -> Generator[Follower]:
    """Run a program that follows what has changed from the beginning on, until the block ends."""
    settings = environment({"GRAPHQL_URL": f"{url}/graphql", "TOKEN": TOKEN, "AFTER": START})
    command = [NODE, f"clients/live/{program}"]
    with subprocess.Popen(command, cwd=EXAMPLES, env=settings, stdout=subprocess.PIPE, text=True) as popen:
        try:
            yield Follower(popen)
        finally:
            popen.kill()


def assert_follows(program: str, database_url: str, media_root: Path) -> None:
    """A client is told of a save and a seal, misses nothing of what happens while its connection is cut, and ends."""
    settings = settings_for(database_url, media_root, auth_cache_seconds=0.0)
    with (
        running(settings) as server,
        relaying(server.url) as (url, relay),
        following(program, url) as follower,
    ):
        first = server.save(photo())["pk"]
        assert follower.line() == {"change": "IMAGE_SAVED", "imagePk": first, "title": "untrained"}
        relay.down()
        server.data(SEAL)
        second = server.save(photo())["pk"]
        relay.up()
        assert [follower.line() for _ in range(3)] == [
            {"change": "SEALED", "imagePk": None, "title": "Lunch"},
            {"change": "OPENED", "imagePk": None, "title": "untrained"},
            {"change": "IMAGE_SAVED", "imagePk": second, "title": "untrained"},
        ]
        third = server.save(photo())["pk"]
        assert follower.line() == {"change": "IMAGE_SAVED", "imagePk": third, "title": "untrained"}
        del server.user_server.users[TOKEN]
        assert follower.line() == {"ended": ENDS[program].for_the_dead}
        assert follower.popen.wait(30) == 0


def refused(program: str, server: Server) -> list[dict[str, Any]]:
    """All that a client prints whose token nobody knows; it ends by itself."""
    settings = {"GRAPHQL_URL": f"{server.url}/graphql", "TOKEN": "a-stranger"}
    return [orjson.loads(line) for line in run([NODE, f"clients/live/{program}"], settings).splitlines()]
