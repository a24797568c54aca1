"""One log: a line of JSON or text an event on stdout, with the request's id and without secrets."""

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

AS_LINE = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
REMOVED = "[removed]"
SECRET_KEY = re.compile(r"token|authorization|password|secret|signing_key|cookie", re.IGNORECASE)
# What follows these words, and passwords that stand in addresses.
SECRET_TEXT = re.compile(
    r"(signature=|\bbearer\s+|access_token[\"']?\s*[:=]\s*)\S+|(://[^/\s:@]*:)[^\s@]+(?=@)", re.IGNORECASE
)
# Every secret has one of these before or in it; most texts have none, and each request has a line to be looked through.
HINT = re.compile(r"[\s:=]")
# These tell their own steps at lower levels; httpcore even what stands in headers.
TALKATIVE = (
    "PIL",
    "aiosqlite",
    "asyncio",
    "asyncmy",
    "httpcore",
    "httpx",
    "tortoise",
    "urllib3",
    "uvicorn.websocket",
)
# This warns of what any client sends, and is heard only in errors: nobody must be able to fill the log.
ALARMED = ("python_multipart",)
# What uvicorn calls errors of WebSockets and any client causes: texts that are no UTF-8, pages that may not connect.
HARMLESS = ("Invalid UTF-8 sequence received", "ASGI callable returned without completing handshake")
# In all lines of a request. Structlog looks in variables for such names; its own function to set them takes six times
# as long.
REQUEST_ID = ContextVar[str](f"{structlog.contextvars.STRUCTLOG_KEY_PREFIX}request_id")


def configure(format: str, level: str) -> None:  # noqa: A002 - LOG_FORMAT is what the operator calls it.
    """Send every record of this process to stdout; format is json or text, level a level's name."""
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    handler = Handler(sys.stdout, as_json=format == "json")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.ExtraAdder(), _colourless],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                scrub,
                structlog.processors.JSONRenderer() if format == "json" else text,
            ],
        )
    )
    _take_over(handler, level.upper())


class Handler(logging.StreamHandler[TextIO]):
    """Writes records, and what is logged for every request by `write`: without a record, in a tenth of the time.

    The lines of requests that end in the same round of the event loop are written together.
    """

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        super().__init__(stream)
        self._as_json = as_json
        self._lines: list[bytes] = []

    def write(self, logger: str, event: str, fields: Mapping[str, Any]) -> None:
        now = datetime.now(UTC)
        told = {**fields, **structlog.contextvars.get_contextvars()}
        told |= {"event": event, "level": "info", "logger": logger, "timestamp": now}
        if self._as_json:
            line = orjson.dumps(told, option=AS_LINE)
        else:
            line = text(None, "", {**told, "timestamp": now.isoformat()[:26] + "Z"}).encode() + b"\n"
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()  # what came before it
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - logging's own way to tell of a record that cannot be told
            self.handleError(record)
        else:
            self._put(line + self.terminator)

    def flush(self) -> None:
        self.acquire()
        try:
            # The event loop may add a line meanwhile, and waits for no lock to do so.
            if count := len(self._lines):
                lines = b"".join(self._lines[:count])
                del self._lines[:count]
                self._put(lines.decode())
        finally:
            self.release()

    def _put(self, lines: str) -> None:
        # That nobody reads the log any more, or its disk is full, is no reason to fail whoever writes it.
        try:
            self.stream.write(lines)
            self.stream.flush()
        except OSError:
            let_go(self.stream)
        except ValueError:
            pass  # it is closed


def let_go(stream: TextIO) -> None:
    """Forget what a stream's file has not taken: Python would fail with it when it starts a process, and at its end."""
    with suppress(OSError):
        place = stream.fileno()
        kept, nowhere = os.dup(place), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, place)
        stream.flush()
        os.dup2(kept, place)
        os.close(kept)
        os.close(nowhere)


def tell(name: str, event: str, fields: Mapping[str, Any]) -> None:
    """Log an event at level info, from the event loop; `name` is that of the module.

    Fields are written as they are: a text that may hold a secret is to be `scrubbed` before.
    """
    root = logging.root
    handler = root.handlers[0] if root.handlers else None
    if not isinstance(handler, Handler):
        structlog.stdlib.get_logger(name).info(event, **fields)
    elif root.level <= logging.INFO:
        handler.write(name, event, fields)


def _take_over(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in ALARMED:
        logging.getLogger(name).setLevel(max(logging.ERROR, root.level))
    logging.getLogger("uvicorn.websocket").addFilter(_is_harmful)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        # A line for each request is the application's; uvicorn makes none where it sees that nobody takes it.
        logger.propagate = name != "uvicorn.access"


def _is_harmful(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(HARMLESS)


def _colourless(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's own text once more, for terminals
    return event


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of an event: whole values by their key, and parts of any text."""
    return cast("EventDict", _scrubbed(event))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {str(key): REMOVED if _is_secret(str(key)) else _scrubbed(each) for key, each in items}
    if isinstance(value, (list, tuple)):
        return [_scrubbed(each) for each in cast("list[Any]", value)]
    if isinstance(value, (int, float, type(None))):
        return value
    return scrubbed(str(value))


@lru_cache(maxsize=1000)
def scrubbed(text: str) -> str:
    """The text without its secrets."""
    return SECRET_TEXT.sub(rf"\1\2{REMOVED}", text) if HINT.search(text) else text


@lru_cache(maxsize=1000)
def _is_secret(key: str) -> bool:
    return SECRET_KEY.search(key) is not None


def text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Render an event as one line; an exception follows, indented so that no line of it can pose as one."""
    start = [plain(event.pop(key, "")) for key in ("timestamp", "level", "logger", "event")]
    trace = [f"    {plain(line)}" for line in str(event.pop("exception", "")).splitlines()]
    pairs = [f"{plain(key)}={_quoted(plain(value))}" for key, value in event.items()]
    return "\n".join([" ".join(start + pairs), *trace])


def plain(value: object) -> str:
    """Escape line ends, terminal codes and whatever else is not printed."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def _quoted(value: str) -> str:
    """Quote a value that could be taken for several."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[\s="]', value) else value
