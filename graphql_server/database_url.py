"""What DATABASE_URL means to Tortoise and the drivers."""

import ssl
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from graphql_server.environment import ENCODE
from graphql_server.errors import SettingsError

CONNECT_SECONDS = 10.0
# The part of the time that a lock is waited for, so that after a wait in vain there is time for another attempt.
LOCK_WAIT = 0.4
# The part of the time after which the database ends a statement, while the server still waits and is told so.
STATEMENT = 0.9
OPTIONS = ("ssl", "ssl_ca")


def connection_of(url: str, pool: int, seconds: float) -> tuple[str, dict[str, Any]]:
    """Tortoise's name and settings for a connection; the name is the engine's. Raises SettingsError.

    Tortoise remembers SQL texts by the connection's name, and the two engines write them differently.
    """
    if url.startswith("sqlite://"):
        file = _decoded(url.removeprefix("sqlite://"))
        if file == ":memory:":
            raise SettingsError("DATABASE_URL needs a file, which keeps what is saved: sqlite://path/to/file")
        credentials: dict[str, Any] = {
            "file_path": file,
            "synchronous": "FULL",
            "busy_timeout": round(LOCK_WAIT * seconds * 1000),
        }
        return "sqlite", {"engine": "tortoise.backends.sqlite", "credentials": credentials}
    parts = urlsplit(url)
    if not parts.username or not parts.hostname or not parts.path.strip("/"):
        raise SettingsError(
            "DATABASE_URL needs a user, a host and a database: mysql://user:password@host:3306/database" + ENCODE
        )
    credentials = {
        "host": parts.hostname,
        "port": parts.port or 3306,
        "user": _decoded(parts.username),
        "password": _decoded(parts.password or ""),
        "database": _decoded(parts.path.lstrip("/")),
        "minsize": 1,
        "maxsize": pool,
        "connect_timeout": min(seconds, CONNECT_SECONDS),
        "read_timeout": seconds,
        "init_command": _first_command(seconds),
        **_encryption(parts),
    }
    return "mysql", {"engine": "tortoise.backends.mysql", "credentials": credentials}


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise SettingsError("DATABASE_URL: what is written by % must be UTF-8, such as %C3%A4 for ä") from None


def _first_command(seconds: float) -> str:
    # Each engine reads its own comment only. A statement that nobody waits for any more must not go on running.
    statement = STATEMENT * seconds
    lock_wait = max(1, round(LOCK_WAIT * seconds))
    return (
        f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {lock_wait}"
        f" /*!80000 , max_execution_time = {round(statement * 1000)} */ /*M! , max_statement_time = {statement:g} */"
    )


def _encryption(parts: SplitResult) -> dict[str, Any]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise SettingsError(f"DATABASE_URL: '{unknown[0]}' is unknown; behind ? stand ssl=on and ssl_ca=FILE")
    if not options:
        return {}
    if options.get("ssl", "on") != "on":
        raise SettingsError("DATABASE_URL: ssl=on switches TLS on; leave it out otherwise")
    try:
        return {"ssl": ssl.create_default_context(cafile=options.get("ssl_ca"))}
    except OSError as error:
        raise SettingsError(f"DATABASE_URL: ssl_ca cannot be read: {error.strerror or error}") from None
