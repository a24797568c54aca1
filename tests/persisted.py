"""Requests that name their document by an identifier."""

from hashlib import md5, sha256
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


def both_ways(query: str) -> list[dict[str, Any]]:
    """What `send` is told to have a query run by its hash, by POST and by GET."""
    return [{"json": hashed(query)}, {"method": "GET", "params": by_get(hashed(query))}]


# The shapes that front ends' compilers write.
def codegen(*queries: str) -> dict[str, Any]:
    """As graphql-codegen's client preset writes it, with hashAlgorithm: 'sha256'."""
    return {f"sha256:{sha256_of(query)}": query for query in queries}


def relay(*queries: str) -> dict[str, Any]:
    """As Relay's compiler writes it, which hashes by MD5."""
    return {md5(query.encode()).hexdigest(): query for query in queries}


def apollo(*queries: str) -> dict[str, Any]:
    """As Apollo's generator of manifests writes it."""
    operations = [{"id": sha256_of(query), "name": "A", "type": "query", "body": query} for query in queries]
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": operations}
