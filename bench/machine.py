"""What the kernel knows of processes: their CPU time, their memory, and the cores that they run on."""

import os
import platform
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

CORES = os.cpu_count() or 1
TICKS = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1  # the load, and the database, share a core that the server does not use
PROC = Path("/proc")


def family(pid: int) -> Iterator[int]:
    """A process and all that it has started."""
    yield pid
    for task in (PROC / str(pid) / "task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def cpu_seconds(*pids: int) -> float:
    """The CPU time of processes and of all that they have started, so far."""
    return sum(_ticks(each) for pid in pids for each in family(pid)) / TICKS


def _ticks(pid: int) -> int:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory_mib(pid: int) -> float:
    """The largest resident memory among a process and all that it has started."""
    return max(_resident(each) for each in family(pid)) / 1024


def _resident(pid: int) -> int:
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def pin(pid: int, *cores: int) -> None:
    """Keep a process, all its threads, and all that it has started on these cores."""
    for each in family(pid):
        for task in (PROC / str(each) / "task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def settle(*pids: int) -> None:
    """Wait until what a server has in hand is done, so that it does not weigh upon the next."""
    for _ in range(200):
        before = cpu_seconds(*pids)
        time.sleep(0.15)
        if cpu_seconds(*pids) - before < 0.03:
            return


def about() -> str:
    """The day and the machine, in a line."""
    lines = (PROC / "cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    python = platform.python_version()
    return f"{datetime.now(UTC):%Y-%m-%d}, {CORES} cores of {model}, Python {python}"
