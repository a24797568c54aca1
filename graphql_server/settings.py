"""What the operator decides, read once from the environment; docs/operating.md lists every setting."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from graphql_server.errors import SettingsError

ORIGIN = re.compile(r"https?://[^/?#\s]+")  # as browsers write it: a longer one would never be met
OUR_PATHS = ("/graphql", "/graphiql", "/healthz", "/readyz")
LAST_PORT = 65535
ENCODE = "; in a user's name and a password / ? # @ : and % are written as %2F %3F %23 %40 %3A and %25"
KEY_LENGTH = 32  # characters; shorter signing keys can be guessed
# What stands in public repositories, the predecessor's included, or is easily guessed, protects nothing.
KNOWN_SECRETS = ("changeme", "secret", "admin@naver.com", "1234", "password", "0123456789abcdef")


def _integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


port_of = _integer(1, LAST_PORT)


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        return value

    return parse


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def _switch(text: str) -> bool:
    return _choice("on", "off")(text) == "on"


def _address(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        scheme, _, rest = text.partition("://")
        if scheme not in schemes or not rest:
            raise ValueError("must start with " + " or ".join(f"{s}://" for s in schemes))
        try:
            host = urlsplit(text).hostname or ""
            _ = urlsplit(text).port
        except ValueError:
            raise ValueError(f"has a port that is no number up to {LAST_PORT}{ENCODE}") from None
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError(f"has a host name that can be none{ENCODE}") from None
        return text

    return parse


web_address = _address("http", "https")


def _media_url(text: str) -> str:
    url = text.rstrip("/")
    if not url.startswith(("/", "http://", "https://")) or f"/{url.split('/')[1]}" in OUR_PATHS:
        raise ValueError("must be a path (/media) or an address (https://media.example)")
    if "?" in url or "#" in url:
        raise ValueError("must have no ? and no #, since the pictures' names are put behind it")
    return url if url.startswith("/") else web_address(url)


def _signing_keys(text: str) -> tuple[str, ...]:
    keys = tuple(key for key in (part.strip() for part in text.split(",")) if key)
    if not keys:
        raise ValueError("must hold at least one key")
    for key in keys:
        if len(key) < KEY_LENGTH or len(set(key)) < KEY_LENGTH // 4:
            raise ValueError(f"must be {KEY_LENGTH} or more random characters: openssl rand -base64 48")
        if any(known in key.lower() for known in KNOWN_SECRETS):
            raise ValueError("holds what is published or easily guessed; make a new one: openssl rand -base64 48")
    return keys


def _listener(text: str) -> tuple[str, int] | None:
    if text.lower() == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= LAST_PORT:
        raise ValueError("must be off, or an address and a port such as 127.0.0.1:9100")
    return host.strip("[]"), int(port)


def _place(text: str) -> Path | None:
    return None if text.lower() == "off" else Path(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _origins(text: str) -> tuple[str, ...]:
    origins = _names(text)
    if not all(origin == "*" or ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be web origins such as https://review.example, without a path")
    return origins


def _setting(
    what: str, parse: Callable[[str], Any] = str, default: Any = dataclasses.MISSING, *, secret: bool = False
) -> Any:
    return dataclasses.field(default=default, metadata={"what": what, "parse": parse, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, one field each; the environment variable has the field's name in capitals."""

    database_url: str = _setting(
        "mysql://user:password@host:3306/database, or sqlite://path/to/file for one process",
        _address("mysql", "sqlite"),
        secret=True,
    )
    database_pool: int = _setting("connections to MySQL that a worker keeps at most", _integer(1, 1000), 16)
    database_seconds: float = _setting(
        "how long a statement or a transaction may take, waiting and connecting included", _seconds(0.1, 600), 5.0
    )
    user_server_url: str = _setting(
        "whom to ask about tokens: http(s)://host/path, or grpc://host:50051",
        _address("http", "https", "grpc"),
    )
    user_server_seconds: float = _setting("how long the user server's answer is waited for", _seconds(0.1, 60), 3.0)
    auth_cache_seconds: float = _setting(
        "how long the user server's answer is remembered; 0 asks every time", _seconds(0, 300), 5.0
    )
    media_root: Path = _setting("the folder that keeps the pictures", Path, Path("media"))
    media_url: str = _setting("where clients find that folder: a path or an address", _media_url, "/media")
    media_url_seconds: int = _setting("how long an image's url is valid, at least", _integer(1, 31_536_000), 3600)
    media_signing_key: tuple[str, ...] = _setting(
        "signs the urls of images; several keys, separated by commas: the first signs, all are accepted",
        _signing_keys,
        secret=True,
    )
    max_upload_bytes: int = _setting("the largest picture, in bytes", _integer(1, 1 << 31), 20 * 1024 * 1024)
    max_request_bytes: int = _setting(
        "the largest request, pictures and all, in bytes", _integer(1, 1 << 40), 128 * 1024 * 1024
    )
    max_pixels: int = _setting("the largest picture, in pixels", _integer(1, 1 << 31), 50_000_000)
    decoders: int = _setting("pictures that a worker decodes at once", _integer(1, 64), os.cpu_count() or 1)
    query_depth: int = _setting("how deep fields of an operation may nest", _integer(1, 200), 20)
    query_fields: int = _setting("fields of an operation, fragments expanded", _integer(1, 100_000), 500)
    query_root_fields: int = _setting("root fields of an operation", _integer(1, 1000), 20)
    query_aliases: int = _setting("aliases of an operation", _integer(0, 1000), 50)
    query_repeats: int = _setting("times that one response key may stand in one object", _integer(1, 1000), 20)
    query_directives: int = _setting("directives of an operation", _integer(0, 1000), 50)
    query_arguments: int = _setting(
        "arguments, variables, input fields and aliases of a document", _integer(1, 10_000), 250
    )
    query_tokens: int = _setting("tokens of a document", _integer(1, 1_000_000), 2000)
    query_values: int = _setting(
        "values in an operation's variables, nested ones included", _integer(1, 1 << 31), 50_000
    )
    query_cost: int = _setting(
        "objects that an operation may give, page sizes multiplied by nesting", _integer(1, 1 << 31), 20_000
    )
    operation_seconds: float = _setting(
        "how long a query may take, and a mutation begin something new", _seconds(0.1, 600), 20.0
    )
    live_connections: int = _setting("subscribers' connections to a worker at once", _integer(0, 100_000), 1000)
    live_subscriptions: int = _setting("operations at once on one WebSocket", _integer(1, 1000), 100)
    live_buffer: int = _setting("changes that may wait for a subscriber", _integer(1, 100_000), 1000)
    host: str = _setting("the address to listen on", str, "127.0.0.1")
    port: int = _setting("the port to listen on", port_of, 8000)
    workers: int = _setting("processes that answer; more than 1 needs MySQL", _integer(1, 256), 1)
    shutdown_seconds: int = _setting("how long requests in flight may take after SIGTERM", _integer(1, 3600), 30)
    graphiql: bool = _setting("on: browsers get GraphiQL at /graphql", _switch, default=False)
    introspection: bool = _setting("on: clients may read the schema", _switch, default=False)
    persisted_operations: Path | None = _setting(
        "a file of the only operations that are run, or a folder of such files", _place, None
    )
    gateway_secret: tuple[str, ...] = _setting(
        "what a gateway sends as Router-Authorization to run other operations than those; several are all accepted",
        _signing_keys,
        (),
        secret=True,
    )
    cors_origins: tuple[str, ...] = _setting("web origins that may call, separated by commas", _origins, ())
    metrics: tuple[str, int] | None = _setting(
        "where Prometheus reads figures: host:port, which the next workers count up", _listener, None
    )
    log_format: str = _setting("json or text", _choice("json", "text"), "json")
    log_level: str = _setting("debug, info, warning or error", _choice("debug", "info", "warning", "error"), "info")

    def __post_init__(self) -> None:
        if self.workers > 1 and self.database_url.startswith("sqlite"):
            raise SettingsError("WORKERS: SQLite serves one process; set WORKERS=1 or a mysql:// DATABASE_URL")
        if any(port == self.port or port > LAST_PORT for _, port in self.metrics_places):
            raise SettingsError("METRICS: each worker takes a port, one of which would be PORT or beyond 65535")
        if self.graphiql and self.persisted_operations:
            raise SettingsError("GRAPHIQL: with PERSISTED_OPERATIONS all that is typed there is refused; set it off")
        if self.gateway_secret and not self.persisted_operations:
            raise SettingsError("GATEWAY_SECRET: all operations are run anyway without PERSISTED_OPERATIONS")

    @property
    def metrics_places(self) -> list[tuple[str, int]]:
        """An address and port for each worker's figures; none where they are not told."""
        if self.metrics is None:
            return []
        host, first = self.metrics
        return [(host, port) for port in range(first, first + self.workers)]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read every setting; SettingsError names the first that is missing or wrong."""
        return cls(**{field.name: setting(field.name, environ) for field in dataclasses.fields(cls)})


def setting(name: str, environ: Mapping[str, str]) -> Any:
    """One setting's value, for commands that need few; SettingsError where it is missing or wrong."""
    field = next(field for field in dataclasses.fields(Settings) if field.name == name)
    variable, text = name.upper(), environ.get(name.upper(), "")
    if not text and field.default is not dataclasses.MISSING:
        return field.default
    if not text:
        raise SettingsError(f"{variable} is not set: {field.metadata['what']}")
    try:
        return field.metadata["parse"](text)
    except ValueError as error:
        # A secret is not repeated in the error, which may end up in a log.
        shown = "" if field.metadata["secret"] else f"={text!r}"
        raise SettingsError(f"{variable}{shown} {error}") from None
