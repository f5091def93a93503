"""One small request with a key, bounded in time and size whatever the other side does."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from lib.llm.error_answers import LARGEST_ERROR_BODY
from lib.secret import without_variables

_log = logging.getLogger(__name__)
_LARGEST_BODY = 8 * 1024 * 1024
T = TypeVar("T")


class NoAnswer(Exception):
    """There was no whole answer; ``str()`` is a safe sentence that says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``body`` is decoded; of an error answer only its beginning."""

    status: int
    headers: httpx2.Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Probe:
    """Sends requests that carry the key and nothing that the environment says.

    ``authorize`` makes the headers that hold the key, ``title`` is what sentences call the provider;
    ``connecting`` is how many seconds a connection, and then its TLS handshake, may take: less than the whole
    deadline, because a handshake that is cancelled from outside leaves its socket open.
    """

    def __init__(
        self,
        transport: httpx2.AsyncHTTPTransport,
        base_url: str,
        authorize: Callable[[], list[tuple[bytes, bytes]]],
        *,
        title: str,
        connecting: float,
    ) -> None:
        self._transport, self._base_url, self._authorize = transport, base_url, authorize
        self._title, self._connecting = title, connecting

    async def get(self, path: str, *headers: tuple[bytes, bytes]) -> Reply:
        """Ask for ``path`` under the base URL. Raises NoAnswer."""
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
        """Send JSON to ``path`` under the base URL. Raises NoAnswer."""
        return await self._ask("POST", path, body, headers)

    async def _ask(
        self, method: str, path: str, body: bytes | None, more: Iterable[tuple[bytes, bytes]]
    ) -> Reply:
        try:
            response = await self._transport.handle_async_request(self._request(method, path, body, more))
            try:
                return Reply(response.status_code, response.headers, await _read(response))
            finally:
                await response.aclose()
        except httpx2.ConnectTimeout:
            reason = _late(self._title, self._connecting)
        except (httpx2.TransportError, OSError) as problem:
            reason = _why(self._title, problem)
        raise NoAnswer(reason)

    @without_variables
    def _request(
        self, method: str, path: str, body: bytes | None, more: Iterable[tuple[bytes, bytes]]
    ) -> httpx2.Request:
        headers = [
            *more,
            *self._authorize(),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"qodex"),
        ]
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
        return httpx2.Request(
            method,
            f"{self._base_url}/{path}",
            headers=headers,
            content=body,
            extensions={"timeout": {"connect": self._connecting}},
        )


async def _read(response: httpx2.Response) -> bytes:
    limit = _LARGEST_BODY if response.is_success else LARGEST_ERROR_BODY
    raw = bytearray()
    async with aclosing(response.aiter_raw()) as parts:
        async for part in parts:
            raw += part
            if len(raw) > limit:
                break
    body = _decoded(bytes(raw), response.headers.get("content-encoding", "").strip().lower(), limit)
    if response.is_success and len(body) > limit:
        raise NoAnswer("The answer was too large.")
    return body[:limit]


def _decoded(raw: bytes, encoding: str, limit: int) -> bytes:
    """Undo a compression that nobody asked for, never to more than the limit (a bomb stays small)."""
    if encoding in {"", "identity"}:
        return raw
    try:
        return zlib.decompressobj(wbits=47).decompress(raw, limit + 1)
    except zlib.error:
        pass
    raise NoAnswer("The answer was compressed in a way that was not asked for.")


def _late(title: str, seconds: float) -> str:
    return f"{title} did not answer within {seconds:g} s."


def _why(title: str, problem: BaseException) -> str:
    """Say what failed, in words of our own: the exception's may repeat the request."""
    causes: list[BaseException] = [problem]
    while (following := causes[-1].__cause__ or causes[-1].__context__) and following not in causes:
        causes.append(following)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"{title}'s address could not be looked up."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return f"No safe connection to {title} was possible (certificate or TLS)."
    if isinstance(problem, httpx2.ProxyError):
        return "The proxy did not let the request through."
    if isinstance(problem, httpx2.ConnectError | OSError):
        return f"{title} could not be reached."
    return "The connection broke before the answer was complete."


def within(seconds: float, work: Callable[[], Coroutine[Any, Any, T]], *, title: str) -> T:
    """Run ``work()`` on an event loop of its own and return its result.

    A socket's time-outs count from byte to byte, so that a header or body that drips outlives them. The loop
    runs in a daemon thread: not even a name server that hangs, or a connection that does not want to be
    closed, holds up the caller, who may be inside an event loop himself.

    Raises:
        NoAnswer: what ``work`` raises of it, or the time is over, or ``work`` failed by an error of ours.
    """
    done: Future[T] = Future()
    late = NoAnswer(_late(title, seconds))

    async def timed() -> T:
        async with asyncio.timeout(seconds):
            return await work()

    def run() -> None:
        try:
            with asyncio.Runner() as runner:
                runner.get_loop().set_default_executor(_DaemonThreads())
                done.set_result(runner.run(timed()))
        except NoAnswer as known:
            done.set_exception(NoAnswer(str(known)))
        except TimeoutError:
            done.set_exception(late)
        except Exception as bug:  # noqa: BLE001 - its frames hold the key, so it may not travel on
            _log.error("A key check failed by itself: %s", type(bug).__name__)
            if not done.done():
                done.set_exception(NoAnswer("The check failed by an error of its own."))

    threading.Thread(target=run, name="key-check", daemon=True).start()
    try:
        return done.result(seconds)
    except TimeoutError:
        raise late from None


class _DaemonThreads(ThreadPoolExecutor):
    """For name lookups: the interpreter waits for a pool's own threads when it ends."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        result: Future[Any] = Future()

        def run() -> None:
            result.set_running_or_notify_cancel()  # from here on nobody can cancel it any more
            try:
                result.set_result(fn(*args, **options))
            except BaseException as problem:  # noqa: BLE001 - belongs to whoever waits
                result.set_exception(problem)

        threading.Thread(target=run, daemon=True).start()
        return result
