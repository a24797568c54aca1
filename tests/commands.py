"""A command that is run in this process, with settings of its own."""

import dataclasses
import re

import pytest

from graphql_server import cli
from graphql_server.settings import Settings

FIELDS = [field.name for field in dataclasses.fields(Settings)]


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, **settings: str
) -> tuple[int, str, str]:
    """Run a command in this process with these settings and no others; gives its status, stdout and stderr."""
    with monkeypatch.context() as patch:
        for name in (name.upper() for name in FIELDS):
            patch.delenv(name, raising=False)
        for name, value in settings.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def assert_one_line(result: tuple[int, str, str], *named: str) -> None:
    status, _, errors = result
    assert status == 2, errors
    assert re.fullmatch(r"graphql-server: [^\n]+\n", errors), errors
    assert [name for name in named if name not in errors] == [], errors
