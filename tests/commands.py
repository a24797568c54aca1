"""A command that is run in this process, with settings of its own: its status, stdout and stderr."""

import dataclasses
import re
from typing import Protocol

from graphql_server.settings import Settings

FIELDS = [field.name for field in dataclasses.fields(Settings)]
Ended = tuple[int, str, str]


class Run(Protocol):
    def __call__(self, *arguments: str, **settings: str) -> Ended: ...


def assert_one_line(result: Ended, *named: str) -> None:
    status, _, errors = result
    assert status == 2, errors
    assert re.fullmatch(r"graphql-server: [^\n]+\n", errors), errors
    assert [name for name in named if name not in errors] == [], errors
