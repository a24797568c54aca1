"""What the operator's texts mean: numbers, addresses, keys; ValueError says what a text must be."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

# Exactly as browsers write it: one that is written otherwise would never match.
ORIGIN = re.compile(r"(?!http:.*:80$|https:.*:443$)https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
HOST = re.compile(r"[\w.:%-]*")  # letters of any language, and an IPv6 address
OUR_PATHS = ("/graphql", "/graphiql", "/healthz", "/readyz")
LAST_PORT = 65535
ENCODE = "; in a user's name and a password / ? # @ : [ ] and % are written as %2F %3F %23 %40 %3A %5B %5D and %25"
KEY_LENGTH = 32  # characters; shorter keys can be guessed
# What stands in public repositories, the predecessor's included, or is easily guessed, protects nothing.
KNOWN_SECRETS = ("changeme", "secret", "admin@naver.com", "1234", "password", "0123456789abcdef")


def utf8(text: str) -> str:
    """Give the text back; what was no UTF-8 has surrogates in Python, which could not be encoded later."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    return text


def integer(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # An int of more than 4,300 digits is an error of Python's own, and a float is infinite.
        if not text.isascii() or not text.isdigit() or not least <= float(text) <= most:
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
        parts = _split(text, ENCODE if "mysql" in schemes else "")
        # Without a port, gRPC would go to 443.
        if scheme == "grpc" and (rest != parts.netloc or "@" in rest or not parts.port):
            raise ValueError("must be grpc://host:50051, with nothing before or behind it")
        return text

    return parse


def _split(text: str, hint: str) -> SplitResult:
    impossible = f"has a host name that can be none{hint}"
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        host.encode("idna")
    except ValueError:
        raise ValueError(impossible) from None
    if not HOST.fullmatch(host):
        raise ValueError(impossible)
    try:
        parts.port  # noqa: B018 - it is read only here
    except ValueError:
        raise ValueError(f"has a port that is no number up to {LAST_PORT}{hint}") from None
    if not host:
        raise ValueError(f"names no host{hint}")
    if "#" in text:
        raise ValueError(f"must have no #: what follows it is sent to no server{hint}")
    return parts


web_address = address("http", "https")


def path_or_address(text: str) -> str:
    url = text.rstrip("/")
    if not url.startswith(("/", "http://", "https://")):
        raise ValueError("must be a path (/media) or an address (https://media.example)")
    steps = unquote(url).split("/")
    if (begin := f"/{steps[1]}") in OUR_PATHS:
        raise ValueError(f"must not begin with {begin}, where the server itself answers")
    if re.search(r"[?#\\\s]", url) or re.search(r"[{}\x00-\x1f]", unquote(url)):
        raise ValueError("must have no ? # \\ { } space or control character: the pictures' names are put behind it")
    if url.startswith("//") or "." in steps or ".." in steps:
        raise ValueError("must have no // in front, which leads to another host, and no . or .. between its slashes")
    return url if url.startswith("/") else web_address(url)


def secret_keys(text: str) -> tuple[str, ...]:
    keys = _parts(text)
    if not keys:
        raise ValueError("must hold at least one key")
    for key in keys:
        if len(key) < KEY_LENGTH or len(set(key)) < KEY_LENGTH // 4:
            raise ValueError(f"must be {KEY_LENGTH} or more random characters: openssl rand -base64 48")
        if any(known in key.lower() for known in KNOWN_SECRETS):
            raise ValueError("holds what is published or easily guessed; make a new one: openssl rand -base64 48")
    return keys


def listener_or_off(text: str) -> tuple[str, int] | None:
    if text.lower() == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < float(port) <= LAST_PORT:
        raise ValueError("must be off, or an address and a port such as 127.0.0.1:9100")
    return host.strip("[]"), int(port)


def path_or_off(text: str) -> Path | None:
    return None if text.lower() == "off" else Path(text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in (each.strip() for each in text.split(",")) if part)


def origins(text: str) -> tuple[str, ...]:
    found = _parts(text)
    if not all(origin == "*" or ORIGIN.fullmatch(origin) for origin in found):
        raise ValueError(
            "must be web origins as browsers write them, such as https://review.example: in lower case, xn--… for other"
            " letters than a to z, no path, and no :80 or :443 where that goes without saying"
        )
    return found
