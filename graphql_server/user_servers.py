"""The two ways to ask a user server: by HTTP, and by the predecessor's gRPC."""

import importlib
import os
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast

import httpx
import orjson

from graphql_server.errors import SettingsError, UserServerUnavailable
from graphql_server.settings import Settings
from graphql_server.users import CALLS_AT_ONCE, User, Users

ANSWER_BYTES = 64 * 1024
REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", ANSWER_BYTES),
    # gRPC would wait up to two minutes before it tries a restarted server again.
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that something in between has forgotten would be kept for a quarter of an hour; so while an answer is
    # waited for, the server is asked now and then for a sign of life.
    ("grpc.keepalive_time_ms", 1000),
)


class HttpUserServer:
    """POSTs the token to one address; the status says whether, a JSON body may say who."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self._url = _checked(url)
        self.client = httpx.AsyncClient(
            transport=transport,
            # The system's certificates and not httpx's list: a company's own authority counts as well.
            verify=self._url.scheme == "https" and ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            # A cookie of one user's answer must not travel with the next user's question.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=None,  # noqa: S113 - Users bounds the whole call; httpx would bound each read alone.
            # Most servers drop idle connections after 5 seconds; a question must not meet that moment.
            limits=httpx.Limits(max_keepalive_connections=CALLS_AT_ONCE, keepalive_expiry=4.0),
        )

    async def ask(self, token: str) -> User | None:
        # Not compressed, as a short answer could then be unpacked to a thousand times its length.
        headers = {"Authorization": f"Bearer {token}", "access_token": token, "Accept-Encoding": "identity"}
        try:
            async with self.client.stream("POST", self._url, headers=headers) as response:
                body = await _body(response)
        except httpx.HTTPError as error:
            raise UserServerUnavailable("The user server cannot be reached.") from error
        if response.status_code in REFUSED:
            return None
        if not response.is_success:
            raise UserServerUnavailable(f"The user server answered with status {response.status_code}.")
        if body is None:
            raise UserServerUnavailable(f"The user server's answer is longer than {ANSWER_BYTES} bytes.")
        return _user(body)

    async def aclose(self) -> None:
        await self.client.aclose()


def _checked(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"USER_SERVER_URL is no address: {error}") from None
    if not address.host:
        raise SettingsError("USER_SERVER_URL names no host")
    if address.userinfo:
        # httpx would send them in the Authorization header, in the place of the token.
        raise SettingsError("USER_SERVER_URL must hold no user name or password")
    return address


async def _body(response: httpx.Response) -> bytes | None:
    """All of a short answer, so that its connection can serve again; None when it is too long."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_BYTES:
            return None
    return bytes(body)


def _user(body: bytes) -> User:
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return User()
    if not isinstance(answer, dict):
        return User()
    pk = cast("dict[str, object]", answer).get("pk")
    return User(pk if type(pk) is int else None)


class GrpcUserServer:
    """Asks the predecessor's user server, whose answer does not say who it is."""

    def __init__(self, target: str, seconds: float) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # It tells stderr of each restart of the user server.
        try:
            self._grpc: Any = importlib.import_module("grpc")  # Any, for grpcio ships no types.
        except ImportError:
            raise SettingsError("USER_SERVER_URL=grpc://…: install dataset-server[grpc]") from None
        self._target, self._seconds = target, seconds
        self._channel: Any = None

    async def ask(self, token: str) -> User | None:
        if self._channel is None:  # A channel belongs to the loop that runs when it is made.
            # That sign is waited for as long as an answer: a server that is merely slow keeps its connection.
            patience = ("grpc.http2.ping_timeout_ms", round(self._seconds * 1000))
            self._channel = self._grpc.aio.insecure_channel(self._target, options=(*CHANNEL, patience))
        call = self._channel.unary_unary("/User/Authenticate")
        try:
            await call(b"", timeout=self._seconds, metadata=(("access_token", token),))
        except self._grpc.RpcError as error:
            if error.code() is self._grpc.StatusCode.UNAUTHENTICATED:
                return None
            raise UserServerUnavailable(f"The user server answered {error.code().name}.") from error
        except self._grpc.aio.BaseError as error:
            raise UserServerUnavailable("The user server cannot be reached.") from error
        return User()

    async def aclose(self) -> None:
        if self._channel is not None:
            await self._channel.close()


def connect(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Users:
    """Make ready to ask settings.user_server_url, by `transport` if given; raises SettingsError."""
    url, seconds = settings.user_server_url, settings.user_server_seconds
    target = url.removeprefix("grpc://")
    server = HttpUserServer(url, transport) if target == url else GrpcUserServer(target, seconds)
    return Users(server, seconds, settings.auth_cache_seconds)
