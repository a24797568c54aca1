"""GraphiQL: the page that browsers get at /graphql, and its files; nothing of it asks another server."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

BUILT = Path(__file__).parent / "static" / "graphiql"
NOT_BUILT = "GraphiQL has not been built: pip install -e . (or, in graphiql/: npm ci && npm run build)."
NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)
# What is not listed is not served, and the machine's own table of types, which differs, is not asked.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
}


def routes() -> list[BaseRoute]:
    """Serve the page's scripts, styles and fonts; the page itself is answered by the route of /graphql."""
    return [Route("/graphiql/assets/{name}", _asset), Route("/", _home)]


async def _home(_request: Request) -> Response:
    """Send whoever opens the server's bare address on to the page, whatever prefix its path has."""
    return RedirectResponse("graphql")


async def page(media_url: str) -> Response:
    """Answer a browser that opens /graphql; pictures may come from `media_url` (the setting) too.

    The page works under any path prefix, because it finds its files and the endpoint relative to itself.
    Where GraphiQL has not been built, the answer is 503 and tells how to build it.
    """
    try:
        html = await anyio.Path(BUILT / "index.html").read_bytes()
    except FileNotFoundError:
        return HTMLResponse(f"<!doctype html><title>GraphiQL</title><p>{NOT_BUILT}", 503)
    # Clients get JSON at the same address: a cache must not mix the two.
    headers = {"cache-control": "no-cache", "vary": "accept", **_security(media_url)}
    return HTMLResponse(html, headers=headers)


# Starlette runs a plain function in a thread: looking for the file does not hold the event loop.
def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    path = BUILT / "assets" / name
    content_type = CONTENT_TYPES.get(path.suffix)
    if content_type is None or not NAME.fullmatch(name) or not path.is_file():
        raise HTTPException(404)
    # Nobody needs parts, and Starlette refuses in text what is no range.
    request.scope["headers"] = [header for header in request.scope["headers"] if header[0] != b"range"]
    # The name holds a hash of the content, which therefore never changes.
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "accept-encoding",
        **_security(),
    }
    packed = path.with_name(path.name + ".gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.is_file():
        path = packed
        headers["content-encoding"] = "gzip"
    return FileResponse(path, media_type=content_type, headers=headers)


def _security(media_url: str = "") -> dict[str, str]:
    media = urlsplit(media_url)
    pictures = f" {media.scheme}://{media.netloc}" if media.netloc else ""
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        # The editor writes style elements while it runs, so neither a hash nor a nonce can name them.
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        f"img-src 'self' data: blob:{pictures}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "content-security-policy": "; ".join(policy),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
