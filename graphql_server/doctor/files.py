"""From the files to the rows: whether each picture has its image, and nothing staged is left behind."""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from aiofiles.os import unlink

from graphql_server.database import Again, Transaction
from graphql_server.disk import STAGING, is_place
from graphql_server.doctor.report import Check, Examination
from graphql_server.engines import Fetching
from graphql_server.errors import SettingsError
from graphql_server.listings import among
from graphql_server.models import DatasetInfo

BATCH = 500
TOGETHER = 20  # Nothing is saved while so many are removed.
# A removal that has taken its row takes its file in this time, and most saves that have placed a file end in it.
PAUSE_SECONDS = 0.5
# So many strays may be removed although no image has a file here, which is what a wrong folder looks like.
FEW = 10
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class Entry(NamedTuple):
    """Something in the media folder: its path below that, its folder and name, its time in Unix seconds."""

    kind: Literal["picture", "staged", "other"]
    path: str
    folder: str
    name: str
    modified: float


async def examine(examination: Examination, before: float) -> None:
    """Every picture has its image, and nothing is staged, as far as it is older than `before`.

    Repairing removes what nobody misses: no picture of any image's name, and nothing else in the folder.
    """
    root = examination.media.root
    entries = walk(root)
    repair = examination.repair and await _removable(examination)
    while batch := await asyncio.to_thread(lambda: list(islice(entries, BATCH))):
        _count(examination, batch)
        old = [entry for entry in batch if entry.kind != "other" and entry.modified < before]
        suspects = _unexplained(old, await _homes(examination.database, old))
        if suspects:
            await _look_again(examination, suspects, repair=repair)


def walk(root: Path) -> Iterator[Entry]:
    """What lies in the media folder, in no order and without following links; SettingsError where it cannot be read."""
    for found in _scan(root):
        inside = found.is_dir(follow_symlinks=False) and (found.name == STAGING or NUMBER.fullmatch(found.name))
        if not inside:
            yield Entry("other", found.name, "", found.name, 0)
            continue
        for file in _scan(root / found.name):
            try:
                kind, modified = _kind(found.name, file), file.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unlisted(root / found.name, error) from error
            yield Entry(kind, f"{found.name}/{file.name}", found.name, file.name, modified)


def _scan(folder: Path) -> "Iterator[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unlisted(folder, error) from error


def _unlisted(folder: Path, error: OSError) -> SettingsError:
    return SettingsError(f"MEDIA_ROOT: {folder} cannot be listed: {error.strerror}")


def _kind(folder: str, file: "os.DirEntry[str]") -> Literal["picture", "staged", "other"]:
    if not file.is_file(follow_symlinks=False):
        return "other"
    if folder == STAGING:
        return "staged"
    return "picture" if is_place(folder, file.name) else "other"


def _count(examination: Examination, batch: Sequence[Entry]) -> None:
    report = examination.report
    for entry in batch:
        if entry.kind == "other":
            report.other(entry.path)
        else:
            _check(examination, entry).examined += 1
    examination.progress.show("files", report.strays.examined, report.files.examined)


def _check(examination: Examination, entry: Entry) -> Check:
    return examination.report.staged if entry.kind == "staged" else examination.report.strays


async def _removable(examination: Examination) -> bool:
    """Tell whether the folder is this database's: with the wrong one, every file would be a stray."""
    if examination.report.files.examined > examination.report.files.wrong:
        return True
    root = examination.media.root
    pictures = (entry for entry in walk(root) if entry.kind == "picture")
    if len(await asyncio.to_thread(lambda: list(islice(pictures, FEW + 1)))) <= FEW:
        return True
    examination.report.notes.append(
        "no file was removed: no image of this database has its file here, so this may be another one's folder"
    )
    return False


async def _homes(database: Fetching, entries: Iterable[Entry]) -> dict[str, set[str]]:
    """The datasets, as names of folders, that have images with the pictures' names."""
    names = [entry.name for entry in entries if entry.kind == "picture"]
    homes: dict[str, set[str]] = {}
    if names:
        chosen = among("uuid_file_name", names)
        sql = f"SELECT uuid_file_name, dataset_info_pk FROM image_info WHERE {chosen.sql}"
        for name, dataset_pk in await database.fetch(sql, chosen.args):
            homes.setdefault(name, set()).add(str(dataset_pk))
    return homes


def _unexplained(entries: Iterable[Entry], homes: Mapping[str, set[str]]) -> list[Entry]:
    return [entry for entry in entries if entry.folder not in homes.get(entry.name, ())]


async def _look_again(examination: Examination, suspects: Sequence[Entry], *, repair: bool) -> None:
    """Report, and where that is asked for remove, what is still there after a pause and still has no row."""
    root = examination.media.root
    await asyncio.sleep(PAUSE_SECONDS)
    present = await asyncio.to_thread(lambda: [entry for entry in suspects if os.path.lexists(root / entry.path)])
    homes = await _homes(examination.database, present)
    strays: list[Entry] = []
    for entry in _unexplained(present, homes):
        check = _check(examination, entry)
        if entry.name in homes:
            # The only copy of an image's file, in the wrong folder, is worth more than a tidy folder.
            home = " or ".join(sorted(homes[entry.name]))
            check.fail(f"{entry.path} belongs to dataset {home}: move it there, or remove it by hand")
        elif repair:
            strays.append(entry)
        else:
            check.fail(entry.path)
    while strays:
        await _repair(examination, strays[:TOGETHER])
        del strays[:TOGETHER]


async def _repair(examination: Examination, strays: Sequence[Entry]) -> None:
    root = examination.media.root
    for entry, reason in await examination.database.transact(partial(_remove, root, strays)):
        example = f"{entry.path} {reason}" if reason else entry.path
        _check(examination, entry).fail(example, repaired=reason is None)


async def _remove(root: Path, strays: Sequence[Entry], transaction: Transaction) -> list[tuple[Entry, str | None]]:
    """Remove those that still have no row; gives them with the reason where that cannot be done."""
    # A save shares this lock from before it places its file until its row is there for others to see.
    if not await DatasetInfo.filter(untrained=True).using_db(transaction.client).select_for_update().first():
        raise Again  # it was sealed while the lock was waited for
    homes = await _homes(transaction, strays)
    left = [entry for entry in strays if entry.name not in homes]
    return [(entry, await _unlink(root / entry.path)) for entry in left]


async def _unlink(path: Path) -> str | None:
    """Remove a file; gives the reason where that cannot be done."""
    try:
        with suppress(FileNotFoundError):
            await unlink(path)
    except OSError as error:
        return f"cannot be removed: {error.strerror}"
    return None
