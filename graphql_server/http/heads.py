"""The heads of requests: their fields by name, and those that come again, which need not be read again."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import unquote

import httptools
from starlette.types import Scope

Headers = Mapping[bytes, bytes]
Line = tuple[bytes, bytes]

# The first lines of nearly all requests; what else there may be is the parser's.
FIRST = re.compile(rb'(GET|HEAD|POST) (/[!"$-~]*) HTTP/1\.1\r\n')
END = b"\r\n\r\n"


class Fields(list[Line]):
    """A head's fields as they came."""

    @cached_property
    def named(self) -> Headers:
        return _named(self)


def headers_of(scope: Scope) -> Headers:
    """A request's headers by their names in small letters; several lines with one name are one (RFC 9110, 5.3)."""
    lines = scope["headers"]
    return lines.named if isinstance(lines, Fields) else _named(lines)


def _named(lines: list[Line]) -> Headers:
    headers = dict(lines)
    return headers if len(headers) == len(lines) else _joined(lines)


def _joined(lines: Iterable[Line]) -> Headers:
    values = defaultdict[bytes, list[bytes]](list)
    for name, value in lines:
        values[name].append(value)
    return {name: b", ".join(each) for name, each in values.items()}


def aim(scope: Scope, target: bytes) -> None:
    """Say where a request goes by the target of its first line; raises httptools.HttpParserInvalidURLError."""
    url, root = httptools.parse_url(target), scope["root_path"]
    path = url.path.decode("ascii")
    scope["path"] = root + (unquote(path) if "%" in path else path)
    scope["raw_path"] = root.encode("ascii") + url.path
    scope["query_string"] = url.query or b""


class Head(NamedTuple):
    """The head of a connection's last request. The next is mostly the same but for its target, as is its length."""

    whole: bytes
    rest: int  # bytes behind the first line, with the body
    length: int  # of the body
    scope: Mapping[str, Any]

    def again(self, piece: bytes) -> Scope | None:
        """The scope of the request that a piece is, if that is a whole one with this method and these fields."""
        if len(piece) == len(self.whole) + self.length and piece.startswith(self.whole):
            return {**self.scope}
        first = FIRST.match(piece)
        # What becomes of a wish for another protocol depends on the method.
        if not first or not self.whole.startswith(first[1]) or len(piece) - first.end() != self.rest:
            return None
        if not self.whole.endswith(piece[first.end() : len(piece) - self.length]):
            return None
        scope: Scope = {**self.scope}
        aim(scope, first[2])
        return scope


def head_of(piece: bytes, scope: Scope) -> Head | None:
    """What is to be remembered of a piece that was read as a whole request; None where another may differ from it."""
    first = FIRST.match(piece)
    if not first:
        return None
    end = piece.find(END, first.end()) + len(END)
    length = len(piece) - end
    if headers_of(scope).get(b"content-length", b"0") != b"%d" % length:
        return None
    return Head(piece[:end], len(piece) - first.end(), length, {**scope})
