"""Requests that name their document by an identifier."""

from hashlib import sha256
from typing import Any

import orjson


def sha256_of(query: str) -> str:
    return sha256(query.encode()).hexdigest()


def hashed(query: str) -> dict[str, Any]:
    """A request as Apollo's clients send it, without its document."""
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": sha256_of(query)}}}


def by_get(request: dict[str, Any]) -> dict[str, str]:
    """The parameters of a query string."""
    return {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in request.items()}
