"""Verifies on a live or stopped system that rows and files belong together, and repairs what can be repaired.

A server may save and remove while the doctor looks. Whatever seems wrong is therefore looked at once more, and
what is younger than the grace period is left alone. Rows and files are read in batches, so that memory does not
grow with their number.
"""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiofiles.ospath import isdir

from graphql_server import logs, migrations
from graphql_server.database import Database
from graphql_server.doctor import expired, files, rows
from graphql_server.doctor.report import Examination, Progress, Report
from graphql_server.errors import SettingsError
from graphql_server.media import Media

STATEMENT_SECONDS = 60.0  # counting a million rows on a cold disk takes longer than a request may
CONNECTIONS = 4


async def run(
    url: str,
    root: Path,
    *,
    repair: bool,
    grace_seconds: float,
    max_pixels: int,
    say: Callable[[str], None],
) -> int:
    """Examine a database and its media folder, and say what was found; gives the exit status.

    It is 0 where every invariant holds, if need be after repair, and 1 where one does not. Raises SettingsError
    and Unavailable where no examination is possible. `max_pixels` limits what is decoded to fill in old rows.
    """
    if math.isnan(grace_seconds) or grace_seconds < 0:
        raise SettingsError("--grace must be a number of seconds, 0 or more")
    if not await isdir(root):
        raise SettingsError(f"MEDIA_ROOT={str(root)!r} is no folder")
    database = await Database.open(url, pool=CONNECTIONS, seconds=STATEMENT_SECONDS)
    try:
        await database.connect()
        await migrations.check(database)
        if repair:
            await expired.forget(database)
        examination = Examination(database, Media(root), Report(), Progress(sys.stderr), repair)
        await examine(examination, time.time() - grace_seconds, max_pixels)
    finally:
        await database.close()
    for line in examination.report.lines():
        say(logs.plain(line))  # names of files may hold anything, also what moves a terminal's cursor
    return 0 if examination.report.holds else 1


async def examine(examination: Examination, before: float, max_pixels: int) -> None:
    """Fill in the report; files changed after `before`, in Unix seconds, need no row yet."""
    try:
        await rows.examine_datasets(examination)
        await rows.examine_images(examination, max_pixels)
        await files.examine(examination, before)
        await rows.examine_tallies(examination)
    finally:
        examination.progress.clear()
