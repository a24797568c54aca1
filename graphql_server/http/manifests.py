"""Reads the files of operations that front ends' compilers write, and checks each of them.

The shapes: graphql-codegen's client preset and Relay's compiler write {identifier: document}; Apollo's generator writes
{"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id", "name", "type", "body"}]}.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson

from graphql_server.errors import SettingsError
from graphql_server.http.persisted import PREFIX
from graphql_server.schema.documents import Documents

# All of it is kept in memory by every worker.
MOST_BYTES = 64 * 1024 * 1024
APOLLO = "apollo-persisted-query-manifest"
SHAPES = "as graphql-codegen, Relay's compiler or Apollo's generator of manifests writes it"
# To start one, and to build the schema in it, takes about as long as to check these.
WORTH_A_PROCESS = 500
NAME = re.compile(r"\b(?:query|mutation|subscription)\s+(\w+)")


class Listed(NamedTuple):
    """A document that may be run, how it is named (without the prefix of a hash), and the file that says so."""

    identifier: str
    text: str
    file: Path

    @property
    def shown(self) -> str:
        """What an operator finds it by."""
        name = NAME.search(self.text)
        return f"{name[1] if name else 'the operation'} ({self.identifier[:80]} in {self.file})"


def read(path: Path) -> list[Listed]:
    """The operations of a file, or of a folder's files *.json; SettingsError where they cannot be read."""
    try:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if sum(file.stat().st_size for file in files) > MOST_BYTES:
            raise _wrong(f"{path} has more than {MOST_BYTES} bytes")
        contents = [(file, file.read_bytes()) for file in files]
    except OSError as error:
        raise _wrong(f"{error.filename or path} cannot be read: {error.strerror}") from None
    found: dict[str, Listed] = {}
    for file, content in contents:
        for identifier, text in _operations(file, content):
            listed = Listed(identifier, text, file)
            if found.setdefault(identifier, listed).text != text:
                raise _wrong(f"{found[identifier].shown} has another text in {file}")
    if not found:
        raise _wrong(f"{path} holds no operation; it is a file, or a folder of files *.json, {SHAPES}")
    return list(found.values())


def check(operations: Iterable[Listed], documents: Documents) -> None:
    """Raise SettingsError where an operation is not valid or passes a limit; each takes about 2 milliseconds."""
    for listed in operations:
        if fault := documents.fault(listed.text):
            raise _wrong(f"{listed.shown}: {' '.join(fault[:300].split())}")


def check_by_all_cores(listed: Sequence[Listed], documents_of: Callable[[], Documents]) -> None:
    """Check them, by processes of their own where there are many; each makes documents for itself."""
    shares = min(os.cpu_count() or 1, len(listed) // WORTH_A_PROCESS)
    if shares < 2:
        check(listed, documents_of())
        return
    # A fork would copy the locks that other threads hold.
    with ProcessPoolExecutor(shares, get_context("spawn")) as processes:
        for _ in processes.map(partial(_check, documents_of), [listed[first::shares] for first in range(shares)]):
            pass  # What is wrong is raised here.


def _check(documents_of: Callable[[], Documents], listed: Sequence[Listed]) -> None:
    check(listed, documents_of())


def _operations(file: Path, content: bytes) -> Iterator[tuple[str, str]]:
    try:
        manifest: object = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _wrong(f"{file} cannot be read as JSON: {error.msg}") from None
    if not isinstance(manifest, dict):
        raise _wrong(f"{file} is no JSON object {SHAPES}")
    fields = cast("dict[str, Any]", manifest)
    for identifier, text in _apollo(file, fields) if fields.get("format") == APOLLO else fields.items():
        name = identifier.removeprefix(PREFIX)
        if not name or not isinstance(text, str):
            raise _wrong(f"{file} has something else than identifiers with documents, {SHAPES}")
        yield name, text


def _apollo(file: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    match manifest:
        case {"version": 1, "operations": [*operations]}:
            for operation in operations:
                match operation:
                    case {"id": str(identifier), "body": body}:
                        yield identifier, body
                    case _:
                        raise _wrong(f"{file} has an operation without 'id' or 'body'")
        case _:
            raise _wrong(f"{file} is no manifest of version 1 with 'operations'")


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"PERSISTED_OPERATIONS: {what}")
