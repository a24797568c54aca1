"""Whom a token belongs to: the user server is asked, and its answers are remembered for a moment."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from graphql_server.endings import let_fail, outcome
from graphql_server.errors import Unauthenticated, UserServerUnavailable
from graphql_server.figures import Questions

TOKEN_LENGTH = 4096  # characters; gRPC and most proxies refuse headers of 8 KiB
CALLS_AT_ONCE = 100
TOKENS_REMEMBERED = 10_000
EMPTY = hashlib.sha256()
REFUSAL_SECONDS = 1.0  # A token that was asked about just before it was made must not stay refused.

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom the user server accepts; it need not say who."""

    pk: int | None = None


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
            self.figures.asked += 1
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
        return await outcome(call)

    def _drop(self, key: bytes, call: "asyncio.Task[User | None]") -> None:
        del self._calls[key]
        let_fail(call)  # All who waited may be gone.

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
    # OpenSSL takes as long to begin a digest as for the digest itself.
    digest = EMPTY.copy()
    digest.update(token.encode(errors="surrogatepass"))
    return digest.digest()


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


def plausible(token: str | None) -> str:
    """Give the token back when it can be one; raises Unauthenticated, without asking, when it cannot."""
    if not token:
        raise Unauthenticated("Send a token in the header Authorization: Bearer …")
    if len(token) > TOKEN_LENGTH or not all("!" <= character <= "~" for character in token):
        raise Unauthenticated("This cannot be a token.")
    return token
