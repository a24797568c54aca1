"""What is left when the process is killed in the middle of its work."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.holdings import ask, holdings
from tests.photos import photo
from tests.processes import Process, server_of, settings_of, started, users_listening
from tests.servers import TOKEN
from tests.together import CREATE, Ask, asking, saving


def send_until_killed(process: Process, asks: Sequence[Ask], answers: int) -> list[Any]:
    """Send all, 40 at once, and kill the process when so many are answered; gives the answers that came."""
    return [answer.json() for answer in asyncio.run(_send(process, asks, answers)) if answer is not None]


async def _send(process: Process, asks: Sequence[Ask], answers: int) -> list[httpx.Response | None]:
    left = answers
    headers = {"authorization": f"Bearer {TOKEN}"}
    limits = httpx.Limits(max_connections=40)
    async with httpx.AsyncClient(verify=False, headers=headers, limits=limits, timeout=30, trust_env=False) as client:

        async def send(ask: Ask) -> httpx.Response | None:
            nonlocal left
            try:
                answer = await client.post(f"{process.url}/graphql", **ask)
            except httpx.TransportError:
                return None
            left -= 1
            if not left:
                process.popen.kill()
            return answer

        return await asyncio.gather(*(send(ask) for ask in asks))


def test_after_a_kill_all_that_was_answered_is_there_and_no_row_lacks_its_file(
    database_url: str, tmp_path: Path
) -> None:
    photos = {hashlib.sha256(content).hexdigest(): content for content in map(photo_of, range(100))}
    asks = [saving(content) for content in photos.values()]
    for number in range(10):
        asks.insert(11 * number, asking(CREATE, title=f"title {number}"))
    with users_listening() as users:
        settings = settings_of(database_url, tmp_path / "media", users)
        with started(tmp_path, "serve", **settings) as process:
            answers = send_until_killed(process, asks, 30)
        assert 30 <= len(answers) < len(asks)
        done = [answer["data"] for answer in answers if "errors" not in answer]
        saved = [data["saveFix"]["image"] for data in done if "saveFix" in data]
        titles = [data["createDataset"]["dataset"]["title"] for data in done if "createDataset" in data]
        assert saved
        with started(tmp_path, "serve", **settings) as process:
            server = server_of(process, settings)
            for image in saved:
                assert server.get(image["url"]).content == photos[image["sha256"]]
            server.save(photo())
            assert set(titles) <= {title for (title,) in ask(database_url, "SELECT title FROM dataset_info")}
            datasets, rows, files = holdings(server.settings)
    assert [title for _, title, untrained in datasets if untrained] == ["untrained"]
    assert {image["pk"] for image in saved} <= {pk for pk, *_ in rows}
    for _, dataset_pk, name, size, digest in rows:
        content = files[f"{dataset_pk}/{name}"]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)


def photo_of(seed: int) -> bytes:
    return photo(seed=seed, size=(320, 240))
