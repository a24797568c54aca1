"""Kills a server at one step after the other of a request, and looks each time at what is left."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from graphql_server.settings import Settings
from tests.chaos import mysql
from tests.failpoints import Forks, forks
from tests.holdings import holdings
from tests.photos import photo
from tests.processes import settings_of
from tests.servers import settings_for
from tests.waiting import wait_until

GROUPED = 3  # saves in a group
DONE_ALREADY = {"seal": "CONFLICT", "remove": "NOT_FOUND"}
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database and the folder hold, and the files among it that no row names."""

    datasets: list[Row]
    images: list[Row]
    strays: set[str]


def kept(settings: Settings) -> Kept:
    """Look; each row must have its file, byte for byte, and one dataset be untrained."""
    datasets, images, files = holdings(settings)
    assert [title for _, title, untrained in datasets if untrained] == ["untrained"]
    rows = {f"{dataset_pk}/{name}": digest for _, dataset_pk, name, _, digest in images}
    found = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    assert rows.items() <= found.items()
    return Kept(datasets, images, found.keys() - rows.keys())


def sweep(folder: Path, url: str, operation: str, *, every: int) -> list[str]:
    """Kill at every so many-th step until there are no more; gives all steps that the request takes."""
    environment = settings_of(url, folder / "media", "http://users.test/authenticate")
    settings = settings_for(url, folder / "media")
    with forks(folder, environment) as forked:
        forked.ask(("save", 2001), ("save", 2002))
        for fatal in count(1, every):
            request = request_of(operation, fatal, settings)
            before = kept(settings)
            outcome = forked.ask(request, fatal=fatal)
            assert outcome.status == -9, outcome.text
            done = is_done(request, before, _after(settings, outcome.steps[-1]))
            assert done or not outcome.answers, "an answered request is not there"
            assert not any("errors" in answer for answer in outcome.answers), outcome.text
            retry(forked, request, done=done, tag=fatal)
            tidy(forked, settings)
            if len(outcome.steps) < fatal:
                return outcome.steps
    raise AssertionError("unreachable")


def request_of(operation: str, tag: int, settings: Settings) -> tuple[str, Any]:
    if operation == "remove":
        return operation, kept(settings).images[-1][0]
    if operation == "group":
        return operation, [GROUPED * tag + number for number in range(GROUPED)]
    return operation, tag if operation == "save" else f"Dataset {tag}"


def _after(settings: Settings, step: str) -> Kept:
    """What is left when the database, too, has noticed that the server is dead."""
    if settings.database_url.startswith("mysql"):
        wait_until(lambda: not mysql.connections(settings.database_url))
    after = kept(settings)
    assert len(after.strays) <= 2 * GROUPED, step  # the staged files and the placed ones
    return after


def is_done(request: tuple[str, Any], before: Kept, after: Kept) -> bool:
    """Tell whether the request has had its effect; it must be the whole effect or none."""
    changed = (after.datasets, after.images) != (before.datasets, before.images)
    if changed:
        EFFECTS[request[0]](request[1], before, after)
    return changed


def _saved(seed: int, before: Kept, after: Kept) -> None:
    _saved_together([seed], before, after)


def _saved_together(seeds: Sequence[int], before: Kept, after: Kept) -> None:
    assert after.datasets == before.datasets
    assert after.images[: -len(seeds)] == before.images
    (untrained_pk,) = (pk for pk, _, untrained in before.datasets if untrained)
    contents = [photo("PNG", seed=seed) for seed in seeds]
    wanted = {(untrained_pk, len(content), hashlib.sha256(content).hexdigest()) for content in contents}
    assert {(dataset_pk, *measures) for _, dataset_pk, _, *measures in after.images[-len(seeds) :]} == wanted


def _sealed(title: str, before: Kept, after: Kept) -> None:
    assert after.images == before.images
    assert [(pk, title if untrained else name, None) for pk, name, untrained in before.datasets] == after.datasets[:-1]
    assert after.datasets[-1][1:] == ("untrained", 1)


def _removed(pk: int, before: Kept, after: Kept) -> None:
    assert after.datasets == before.datasets
    assert after.images == [image for image in before.images if image[0] != pk]


EFFECTS: Mapping[str, Any] = {"save": _saved, "group": _saved_together, "seal": _sealed, "remove": _removed}


def retry(forked: Forks, request: tuple[str, Any], *, done: bool, tag: int) -> None:
    """Ask a new server again; what follows lets the next round find what the first one did."""
    # A dataset whose first image is saved has no folder, and what is removed must have been saved.
    then: Mapping[str, list[tuple[str, Any]]] = {
        "save": [("seal", f"Saved {tag}")],
        "group": [("seal", f"Saved {tag}")],
        "seal": [],
        "remove": [("save", 1000 + tag)],
    }
    outcome = forked.ask(request, *then[request[0]])
    first, *others = outcome.answers
    assert not any("errors" in answer for answer in others), outcome.text
    if done and request[0] in DONE_ALREADY:
        assert first["errors"][0]["extensions"]["code"] == DONE_ALREADY[request[0]]
    else:
        assert "errors" not in first, first


def tidy(forked: Forks, settings: Settings) -> None:
    """Have the doctor remove the strays: it must find nothing else, and leave nothing."""
    strays = kept(settings).strays
    outcome = forked.run("doctor", "--repair", "--grace", "0")
    assert outcome.status == 0, outcome.text
    assert kept(settings).strays == set()
    for stray in strays:
        assert f"{stray} (removed)" in outcome.text
    assert outcome.text.count("(removed)") == len(strays), outcome.text


# So many steps there are at least; a sweep over fewer has lost sight of the disk or of the database.
LEAST = {
    ("sqlite", "save"): 36,
    ("sqlite", "group"): 60,
    ("sqlite", "seal"): 10,
    ("sqlite", "remove"): 16,
    ("mysql", "save"): 46,
    ("mysql", "group"): 76,
    ("mysql", "seal"): 20,
    ("mysql", "remove"): 26,
}
DISK = {
    "save": ("mkdir", "open", "write", "fsync", "link", "unlink"),
    "group": ("open", "write", "fsync", "link", "unlink"),
    "seal": (),
    "remove": ("unlink", "fsync"),
}
STATEMENTS = {
    "save": ("BEGIN", "SELECT", "INSERT", "COMMIT"),
    "group": ("BEGIN", "SELECT", "INSERT", "COMMIT"),
    "seal": ("BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT"),
    "remove": ("BEGIN", "SELECT", "DELETE", "COMMIT"),
}


def check(steps: list[str], engine: str, operation: str) -> None:
    """The steps must be those that the request is known to need."""
    sys.stdout.write(f"{engine} {operation}: {len(steps)} steps\n")
    assert len(steps) >= LEAST[engine, operation], steps
    for wanted in DISK[operation]:
        assert any(step.startswith(f"before {wanted} ") for step in steps), wanted
    inserts = [step for step in steps if step.startswith("before ") and "INSERT INTO image_info" in step]
    assert len(inserts) == (operation in ("save", "group")), "not all at once"
    for wanted in STATEMENTS[operation]:
        assert any(wanted in step.upper() for step in steps), wanted
