"""What the doctor found, as a table with examples, and how far it is."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from graphql_server.database import Database
from graphql_server.media import Media

EXAMPLES = 10
SECONDS_BETWEEN = 0.2
HEADING = ("check", "examined", "wrong", "what to do")


@dataclass
class Check:
    """One invariant: how many were examined, how many of them broke it, how many of those were repaired."""

    name: str
    advice: str
    mended: str = "repaired"
    examined: int = 0
    wrong: int = 0
    repaired: int = 0
    examples: list[str] = field(default_factory=list[str])

    @property
    def holds(self) -> bool:
        return self.wrong == self.repaired

    def fail(self, example: str, *, repaired: bool = False) -> None:
        self.wrong += 1
        self.repaired += repaired
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{example} ({self.mended})" if repaired else example)

    @property
    def cells(self) -> tuple[str, str, str, str]:
        done = [f"{self.repaired:,} {self.mended}"] if self.repaired else []
        left = [] if self.holds else [self.advice]
        return self.name, f"{self.examined:,}", f"{self.wrong:,}", "; ".join(done + left) or "-"


@dataclass
class Report:
    """All checks, and counts of what is worth a note without being wrong."""

    untrained: Check = field(
        default_factory=lambda: Check(
            "exactly one dataset is untrained", "--repair opens one where there is none; of several, name all but one"
        )
    )
    datasets: Check = field(
        default_factory=lambda: Check("every image has its dataset", "insert the dataset's row again, under its pk")
    )
    files: Check = field(
        default_factory=lambda: Check("every image has its file", "restore the file from a backup, or remove the image")
    )
    contents: Check = field(
        default_factory=lambda: Check("every file is as it was saved", "restore the file from a backup")
    )
    strays: Check = field(
        default_factory=lambda: Check("every file has its image", "--repair removes strays", "removed")
    )
    staged: Check = field(
        default_factory=lambda: Check("nothing staged is left behind", "--repair removes it", "removed")
    )
    tallies: Check = field(
        default_factory=lambda: Check("every tally counts its images", "--repair mends the tallies", "mended")
    )
    unmeasured: int = 0
    measured: int = 0
    undecodable: int = 0
    others: int = 0
    notes: list[str] = field(default_factory=list[str])

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.untrained, self.datasets, self.files, self.contents, self.strays, self.staged, self.tallies

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def other(self, path: str) -> None:
        """Take note of something in the media folder that is no picture."""
        self.others += 1
        if self.others <= EXAMPLES:
            self.notes.append(f"not a picture, left alone: {path}")

    def lines(self) -> Iterator[str]:
        yield from _table([HEADING, *(check.cells for check in self.checks)])
        for check in self.checks:
            if check.wrong:
                yield ""
                yield f"{check.name}: {len(check.examples):,} of {check.wrong:,} that are wrong"
                yield from (f"  {example}" for example in check.examples)
        counted = {
            "images without size and hash; --repair fills them in from the files": self.unmeasured,
            "images whose size and hash were filled in from their files": self.measured,
            "images that cannot be decoded; their content type, width and height stay unknown": self.undecodable,
            "entries of the media folder that are no pictures": self.others,
        }
        notes = [f"{number:,} {what}" for what, number in counted.items() if number] + self.notes
        if notes:
            yield ""
            yield "notes"
            yield from (f"  {note}" for note in notes)


def _table(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    name, examined, wrong, _ = (max(len(cell) for cell in column) for column in zip(*rows, strict=True))
    for row in rows:
        yield f"{row[0]:<{name}}  {row[1]:>{examined}}  {row[2]:>{wrong}}  {row[3]}"


class Progress:
    """One line on a terminal, written at most five times a second; elsewhere nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None
        self._what, self._next = "", 0.0

    def show(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._stream is None or (what == self._what and now < self._next):
            return
        self._what, self._next = what, now + SECONDS_BETWEEN
        # A live system grows while it is counted.
        total = max(total, done, 1)
        self._stream.write(f"\r{what}: {done:,} of {total:,} ({done * 100 // total} %)\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


@dataclass(frozen=True, slots=True)
class Examination:
    """What is examined, where the findings go, and whether to repair."""

    database: Database
    media: Media
    report: Report
    progress: Progress
    repair: bool
