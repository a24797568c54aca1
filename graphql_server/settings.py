"""What the operator decides, read once from the environment; docs/operating.md says what each setting means."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql_server.environment import (
    LAST_PORT,
    address,
    choice,
    integer,
    listener_or_off,
    origins,
    path_or_address,
    path_or_off,
    port_of,
    seconds,
    secret_keys,
    switch,
    utf8,
)
from graphql_server.errors import SettingsError


def _setting(parse: Callable[[str], Any], default: Any, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, metadata={"parse": parse, "secret": secret})


def _needed(what: str, parse: Callable[[str], Any], *, secret: bool = False) -> Any:
    """A setting without a default; `what` is said where it is missing."""
    return dataclasses.field(metadata={"what": what, "parse": parse, "secret": secret})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, one field each; the environment variable has the field's name in capitals."""

    database_url: str = _needed(
        "mysql://user:password@host:3306/database, or sqlite://path/to/file for one process",
        address("mysql", "sqlite"),
        secret=True,
    )
    database_pool: int = _setting(integer(1, 1000), 16)
    database_seconds: float = _setting(seconds(0.1, 600), 5.0)
    user_server_url: str = _needed(
        "whom to ask about tokens: http(s)://host/path, or grpc://host:50051",
        address("http", "https", "grpc"),
    )
    user_server_seconds: float = _setting(seconds(0.1, 60), 3.0)
    auth_cache_seconds: float = _setting(seconds(0, 300), 5.0)
    media_root: Path = _setting(Path, Path("media"))
    media_url: str = _setting(path_or_address, "/media")
    media_url_seconds: int = _setting(integer(1, 31_536_000), 3600)
    media_signing_key: tuple[str, ...] = _needed(
        "signs the urls of images; several keys, separated by commas: the first signs, all are accepted",
        secret_keys,
        secret=True,
    )
    max_upload_bytes: int = _setting(integer(1, 1 << 31), 20 * 1024 * 1024)
    max_request_bytes: int = _setting(integer(1, 1 << 40), 128 * 1024 * 1024)
    max_pixels: int = _setting(integer(1, 1 << 31), 50_000_000)
    decoders: int = _setting(integer(1, 64), os.cpu_count() or 1)
    query_depth: int = _setting(integer(1, 200), 20)
    query_fields: int = _setting(integer(1, 100_000), 500)
    query_root_fields: int = _setting(integer(1, 1000), 20)
    query_aliases: int = _setting(integer(0, 1000), 50)
    query_repeats: int = _setting(integer(1, 1000), 20)
    query_directives: int = _setting(integer(0, 1000), 50)
    query_arguments: int = _setting(integer(1, 10_000), 250)
    query_tokens: int = _setting(integer(1, 1_000_000), 2000)
    query_values: int = _setting(integer(1, 1 << 31), 50_000)
    query_cost: int = _setting(integer(1, 1 << 31), 20_000)
    operation_seconds: float = _setting(seconds(0.1, 600), 20.0)
    live_connections: int = _setting(integer(0, 100_000), 1000)
    live_subscriptions: int = _setting(integer(1, 1000), 100)
    live_buffer: int = _setting(integer(1, 100_000), 1000)
    host: str = _setting(str, "127.0.0.1")
    port: int = _setting(port_of, 8000)
    workers: int = _setting(integer(1, 256), 1)
    shutdown_seconds: int = _setting(integer(1, 3600), 30)
    graphiql: bool = _setting(switch, default=False)
    introspection: bool = _setting(switch, default=False)
    persisted_operations: Path | None = _setting(path_or_off, None)
    gateway_secret: tuple[str, ...] = _setting(secret_keys, (), secret=True)
    cors_origins: tuple[str, ...] = _setting(origins, ())
    metrics: tuple[str, int] | None = _setting(listener_or_off, None)
    log_format: str = _setting(choice("json", "text"), "json")
    log_level: str = _setting(choice("debug", "info", "warning", "error"), "info")

    def __post_init__(self) -> None:
        if self.workers > 1 and self.database_url.startswith("sqlite"):
            raise SettingsError("WORKERS: SQLite serves one process; set WORKERS=1 or a mysql:// DATABASE_URL")
        if any(port == self.port or port > LAST_PORT for _, port in self.metrics_addresses):
            raise SettingsError("METRICS: each worker takes a port, one of which would be PORT or beyond 65535")
        if self.graphiql and self.persisted_operations:
            raise SettingsError("GRAPHIQL: with PERSISTED_OPERATIONS all that is typed there is refused; set it off")
        if self.gateway_secret and not self.persisted_operations:
            raise SettingsError("GATEWAY_SECRET: all operations are run anyway without PERSISTED_OPERATIONS")

    @property
    def metrics_addresses(self) -> list[tuple[str, int]]:
        """An address and port for each worker's figures; none where they are not told."""
        if self.metrics is None:
            return []
        host, first = self.metrics
        return [(host, port) for port in range(first, first + self.workers)]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Read every setting; SettingsError names all that are missing, or else the first that is wrong."""
        fields = dataclasses.fields(cls)
        needed = (field for field in fields if field.default is dataclasses.MISSING)
        if missing := [_missing(field) for field in needed if not environ.get(field.name.upper())]:
            raise SettingsError("; ".join(missing))
        return cls(**{field.name: setting(field.name, environ) for field in fields})


def setting(name: str, environ: Mapping[str, str]) -> Any:
    """One setting's value, for commands that need few; SettingsError where it is missing or wrong."""
    field = next(field for field in dataclasses.fields(Settings) if field.name == name)
    variable, text = name.upper(), environ.get(name.upper(), "")
    if not text and field.default is not dataclasses.MISSING:
        return field.default
    if not text:
        raise SettingsError(_missing(field))
    try:
        return field.metadata["parse"](utf8(text))
    except ValueError as error:
        # A secret is not repeated in the error, which may end up in a log.
        shown = "" if field.metadata["secret"] else f"={text!r}"
        raise SettingsError(f"{variable}{shown} {error}") from None


def _missing(field: dataclasses.Field[Any]) -> str:
    return f"{field.name.upper()} is not set: {field.metadata['what']}"
