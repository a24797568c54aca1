"""The bench: what the server costs, next to its peers and to no GraphQL at all.

Usage: scripts/with-engine mysql|mariadb python -m bench reads|saves|scale|media|workers [options]
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bench import data, machine, media, reads, report, saves, scale, servers, workers

CHART = Path(__file__).parent / "reads.svg"


def say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def filled(options: argparse.Namespace) -> data.Filled:
    return asyncio.run(data.fill(os.environ["TEST_DATABASE_URL"], options.images))


def run_reads(options: argparse.Namespace) -> None:
    database = filled(options)
    machine.pin(database.pid, machine.LOAD_CORE)
    names = [servers.REFERENCE, *(name for name in options.peers.split(",") if name)]
    found = reads.measure(database, names, options.rounds, options.seconds)
    about = f"{machine.about()}; {options.images:,} images"
    say([about, "", *report.table(found)])
    values = {work: reads.ratios(rounds) for work, rounds in found.items()}
    CHART.write_text(report.chart(values, about), encoding="utf-8")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "reads": run_reads,
    "saves": lambda options: say(saves.report(filled(options), options.rounds, options.seconds)),
    "scale": lambda options: say(
        scale.report(os.environ["TEST_DATABASE_URL"], options.sizes, options.rounds, options.seconds)
    ),
    "media": lambda options: say(media.report(filled(options), options.rounds, options.seconds)),
    "workers": lambda options: say(workers.report(filled(options), options.rounds, options.seconds)),
}


def main() -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--images", type=int, default=1_000_000, help="images in the database")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000], help="the same, for scale")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load, each time")
    parser.add_argument("--peers", default="mercurius-jit,apollo", help="separated by commas")
    options = parser.parse_args()
    PARTS[options.part](options)


if __name__ == "__main__":
    main()
