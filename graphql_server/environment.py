"""What the operator's texts mean: numbers, addresses, keys; ValueError says what a text must be."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

ORIGIN = re.compile(r"https?://[^/?#\s]+")  # as browsers write it: a longer one would never be met
OUR_PATHS = ("/graphql", "/graphiql", "/healthz", "/readyz")
LAST_PORT = 65535
ENCODE = "; in a user's name and a password / ? # @ : and % are written as %2F %3F %23 %40 %3A and %25"
KEY_LENGTH = 32  # characters; shorter signing keys can be guessed
# What stands in public repositories, the predecessor's included, or is easily guessed, protects nothing.
KNOWN_SECRETS = ("changeme", "secret", "admin@naver.com", "1234", "password", "0123456789abcdef")


def integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


port_of = integer(1, LAST_PORT)


def seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise ValueError(f"must be a number of seconds from {least:g} to {most:g}")
        return value

    return parse


def choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return parse


def switch(text: str) -> bool:
    return choice("on", "off")(text) == "on"


def address(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        scheme, _, rest = text.partition("://")
        if scheme not in schemes or not rest:
            raise ValueError("must be " + " or ".join(f"{s}://…" for s in schemes))
        if scheme == "sqlite":
            return text  # a path
        try:
            host, _ = urlsplit(text).hostname or "", urlsplit(text).port
        except ValueError:
            raise ValueError(f"has a port that is no number up to {LAST_PORT}{ENCODE}") from None
        try:
            host.encode("idna")
        except UnicodeError:
            raise ValueError(f"has a host name that can be none{ENCODE}") from None
        return text

    return parse


web_address = address("http", "https")


def path_or_address(text: str) -> str:
    url = text.rstrip("/")
    if not url.startswith(("/", "http://", "https://")):
        raise ValueError("must be a path (/media) or an address (https://media.example)")
    if (begin := f"/{unquote(url).split('/')[1]}") in OUR_PATHS:
        raise ValueError(f"must not begin with {begin}, where the server itself answers")
    if "?" in url or "#" in url:
        raise ValueError("must have no ? and no #, since the pictures' names are put behind it")
    return url if url.startswith("/") else web_address(url)


def signing_keys(text: str) -> tuple[str, ...]:
    keys = _parts(text)
    if not keys:
        raise ValueError("must hold at least one key")
    for key in keys:
        if len(key) < KEY_LENGTH or len(set(key)) < KEY_LENGTH // 4:
            raise ValueError(f"must be {KEY_LENGTH} or more random characters: openssl rand -base64 48")
        if any(known in key.lower() for known in KNOWN_SECRETS):
            raise ValueError("holds what is published or easily guessed; make a new one: openssl rand -base64 48")
    return keys


def listener(text: str) -> tuple[str, int] | None:
    if text.lower() == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= LAST_PORT:
        raise ValueError("must be off, or an address and a port such as 127.0.0.1:9100")
    return host.strip("[]"), int(port)


def place(text: str) -> Path | None:
    return None if text.lower() == "off" else Path(text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (each.strip() for each in text.split(",")) if part)


def origins(text: str) -> tuple[str, ...]:
    found = _parts(text)
    if not all(origin == "*" or ORIGIN.fullmatch(origin) for origin in found):
        raise ValueError("must be web origins such as https://review.example, without a path")
    return found
