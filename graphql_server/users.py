"""Whom a token belongs to: the user server is asked, and its answers are remembered for a moment."""

import asyncio
import hashlib
import importlib
import os
import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Generic, Protocol, TypeVar, cast

import httpx
import orjson

from graphql_server.errors import SettingsError, Unauthenticated, UserServerUnavailable
from graphql_server.figures import Questions
from graphql_server.settings import Settings

TOKEN_LENGTH = 4096  # characters; gRPC and most proxies refuse headers of 8 KiB
ANSWER_BYTES = 64 * 1024
CALLS_AT_ONCE = 100
TOKENS_REMEMBERED = 10_000
REFUSAL_SECONDS = 1.0  # A token that was asked about just before it was made must not stay refused.
REFUSED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
CHANNEL = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", ANSWER_BYTES),
    # gRPC would wait up to two minutes before it tries a restarted server again.
    ("grpc.max_reconnect_backoff_ms", 1000),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom the user server accepts; it need not say who."""

    pk: int | None = None
    email: str | None = None


class UserServer(Protocol):
    """One way to ask; both methods may be cancelled at any time."""

    async def ask(self, token: str) -> User | None:
        """Whom the token belongs to, or None when it is refused; raises UserServerUnavailable."""

    async def aclose(self) -> None: ...


class Users:
    """Asks the user server, never twice at once for one token, and remembers what it says."""

    def __init__(self, server: UserServer, seconds: float, cache_seconds: float) -> None:
        self.server = server
        self._seconds = seconds
        self._accepted = Remembered[User](cache_seconds)
        # Refusals have a memory of their own: a flood of made-up tokens then pushes no user out.
        self._refused = Remembered[bool](min(REFUSAL_SECONDS, cache_seconds))
        self._calls: dict[bytes, asyncio.Task[User | None]] = {}
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self.figures = Questions()

    async def authenticate(self, token: str | None) -> User:
        """Find the token's user; raises Unauthenticated or UserServerUnavailable."""
        if user := self.known(token):
            return user
        token = plausible(token)
        key = _key(token)
        if self._refused.get(key):
            self.figures.remembered += 1
        else:
            self.figures.forgotten += 1
            user = await self._share(key, token)
        if user is None:
            raise Unauthenticated("The user server refuses this token.")
        return user

    def known(self, token: str | None) -> User | None:
        """The token's user, where that is remembered."""
        user = self._accepted.get(_key(token)) if token else None
        self.figures.remembered += user is not None
        return user

    async def _share(self, key: bytes, token: str) -> User | None:
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = asyncio.create_task(self._ask(key, token))
            call.add_done_callback(lambda done: self._drop(key, done))
        # Unlike await call, this ends no call that others wait for as well when one of them gives up.
        await asyncio.wait([call])
        return call.result()

    def _drop(self, key: bytes, call: "asyncio.Task[User | None]") -> None:
        del self._calls[key]
        if not call.cancelled():
            call.exception()  # When all who waited are gone, asyncio would report it as never retrieved.

    async def _ask(self, key: bytes, token: str) -> User | None:
        # An answer may be as old as its question, so its time runs from then.
        asked, began, answer = time.monotonic(), time.perf_counter(), "unavailable"
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                user = await self.server.ask(token)
            answer = "accepted" if user else "refused"
        except TimeoutError as error:
            late = f"The user server gave no answer within {self._seconds:g} seconds."
            raise UserServerUnavailable(late) from error
        finally:
            self.figures.answers[answer].add(began)
        if user is None:
            self._refused.put(key, value=True, since=asked)
        else:
            self._accepted.put(key, value=user, since=asked)
        return user

    async def aclose(self) -> None:
        """End the calls that are still under way and close the connections."""
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self.server.aclose()


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


class Remembered(Generic[T]):
    """Answers for some seconds, by the hash of the token so that no dump of memory shows one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answers = OrderedDict[bytes, tuple[float, T]]()

    def get(self, key: bytes) -> T | None:
        until, value = self._answers.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def put(self, key: bytes, *, value: T, since: float) -> None:
        self._answers[key] = since + self._seconds, value
        self._answers.move_to_end(key)
        if len(self._answers) > TOKENS_REMEMBERED:
            self._answers.popitem(last=False)


class HttpUserServer:
    """POSTs the token to one address; the status says whether, a JSON body may say who."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
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
    pk, email = (cast("dict[str, object]", answer).get(key) for key in ("pk", "email"))
    return User(pk if type(pk) is int else None, email if isinstance(email, str) else None)


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
            self._channel = self._grpc.aio.insecure_channel(self._target, options=CHANNEL)
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


def plausible(token: str | None) -> str:
    """Give the token back when it can be one; raises Unauthenticated, without asking, when it cannot."""
    if not token:
        raise Unauthenticated("Send a token in the header Authorization: Bearer …")
    if len(token) > TOKEN_LENGTH or not all("!" <= character <= "~" for character in token):
        raise Unauthenticated("This cannot be a token.")
    return token
