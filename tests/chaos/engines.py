"""The MySQL server's own process: it is stopped, killed, frozen and started again."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from asyncmy.errors import OperationalError

from tests.mysql import statements


class Mysqld:
    """The server at an address on this machine; what is not running when `end` comes was started by us."""

    def __init__(self, url: str) -> None:
        self._url = url
        ((pid_file,),) = statements(url, "SELECT @@pid_file")
        self._pid = int(Path(pid_file).read_text(encoding="ascii"))
        command = Path(f"/proc/{self._pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]
        # The statements that made the account were run by the first start.
        self._command = [argument for argument in command if not argument.startswith("--init-file")]
        self._popen: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def _wait(self) -> None:
        if self._popen:
            self._popen.wait(60)
        end = time.monotonic() + 60
        while Path(f"/proc/{self._pid}/cmdline").exists() and Path(f"/proc/{self._pid}/cmdline").read_text():
            assert time.monotonic() < end, "MySQL does not stop"
            time.sleep(0.05)

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self._popen = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._pid = self._popen.pid
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self._popen.poll() is None, "MySQL does not start"
            with suppress(OperationalError):
                statements(self._url, "SELECT 1")
                return
            time.sleep(0.05)
        raise AssertionError("MySQL does not answer")

    def end(self) -> None:
        """Stop what was started here."""
        if self._popen:
            self._popen.terminate()
            self._popen.wait(60)
