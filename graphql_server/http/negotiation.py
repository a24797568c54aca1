"""What a client takes, by its header Accept: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1"""

from collections.abc import Sequence
from typing import NamedTuple

RESPONSE = "application/graphql-response+json"
JSON = "application/json"


class MediaRange(NamedTuple):
    """Media types that an Accept names, as `*/*` does, in small letters, and how gladly they are taken; 0 is not."""

    name: str
    parameters: list[str]
    quality: float


def ranges_of(accept: str) -> list[MediaRange]:
    """All that an Accept names, in its order; parameters come without quotes."""
    found: list[MediaRange] = []
    for item in accept.lower().replace('"', "").split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name:
            found.append(MediaRange(name, parameters, _quality(parameters)))
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def media_type(ranges: Sequence[MediaRange]) -> str | None:
    """The media type of a whole answer; None where the client takes neither of the two."""
    if not ranges:
        return JSON
    wanted: dict[str, float] = {}
    for name, _, quality in ranges:
        wanted[name] = max(wanted.get(name, 0.0), quality)
    weights = {kind: _weight(wanted, kind) for kind in (JSON, RESPONSE)}
    kind = RESPONSE if weights[RESPONSE] > weights[JSON] or wanted.get(RESPONSE) == weights[JSON] else JSON
    return kind if weights[kind] else None


def _weight(wanted: dict[str, float], kind: str) -> float:
    return next((wanted[name] for name in (kind, "application/*", "*/*") if name in wanted), 0.0)
