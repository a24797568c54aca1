"""Where a client's token stands among headers."""

from graphql_server.http.heads import Headers


def token_of(headers: Headers) -> str | None:
    """The client's token: a bearer's, or the one in the predecessor's header."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.decode("latin-1").strip()
    own = headers.get(b"access_token")
    return None if own is None else own.decode("latin-1")
