"""The bench in short: its database, its limit and its reports; the peers are left to `make bench`."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import data, photos, plain, reads, report, saves, servers
from bench.data import Filled
from bench.load import Figures
from tests import mysql
from tests.holdings import ask

IMAGES = 10_000


@pytest.fixture(scope="module")
def filled(mysql_server: str) -> Generator[Filled]:
    database = asyncio.run(data.fill(mysql_server, IMAGES))
    yield database
    mysql.drop(database.url)


def test_the_database_is_full_of_images_that_are_counted(filled: Filled) -> None:
    assert ask(filled.url, "SELECT COUNT(*), COUNT(DISTINCT uuid_file_name) FROM image_info") == [(IMAGES, IMAGES)]
    datasets = {pk for (pk,) in ask(filled.url, "SELECT DISTINCT dataset_info_pk FROM image_info")}
    assert data.LARGE in datasets <= set(range(1, data.EMPTY))
    assert ask(filled.url, "SELECT SUM(images) FROM image_tally WHERE dataset_info_pk <= 50") == [(IMAGES,)]


def test_the_server_gives_the_data_of_the_limit(filled: Filled, tmp_path: Path) -> None:
    with servers.ours(filled.url, tmp_path) as ours, servers.peer(servers.REFERENCE, filled.url, tmp_path) as limit:
        for work in reads.workloads(IMAGES):
            reads.compare([ours, limit], work)
            (answer,) = reads.ask(limit, work.bodies()[0]).values()
            assert answer


def test_the_plain_script_saves_different_photos(filled: Filled, tmp_path: Path) -> None:
    content = photos.photo()
    assert len(content) == pytest.approx(photos.BYTES, rel=0.05)
    ((before,),) = ask(filled.url, saves.COUNT)
    saved = asyncio.run(plain.run(filled.url, tmp_path, content, 0.2, "eighth"))
    assert ask(filled.url, saves.COUNT) == [(before + saved,)]
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == saved > 0


def test_the_report_is_a_table_and_a_chart() -> None:
    def figures(cpu: float) -> Figures:
        return Figures(100, cpu, 0.1, 1000, 1.0, 3, 0)

    rounds = {
        servers.OURS: [figures(2), figures(3), figures(9)],
        servers.REFERENCE: [figures(1), figures(2), figures(3)],
    }
    assert reads.ratios(rounds) == {servers.OURS: 2, servers.REFERENCE: 1}
    lines = list(report.table({"W1": rounds}))
    assert lines[2].startswith("| W1 | raw | 2.000 | 1.00 | 1,000 |")
    assert lines[3].startswith("| W1 | dataset-server | 3.000 | 2.00 | 1,000 |")
    chart = ET.fromstring(report.chart({"W1 <&>": reads.ratios(rounds)}, "today"))
    assert [text for text in chart.itertext() if text in ("W1 <&>", "2.0", "today")] == ["W1 <&>", "2.0", "today"]
