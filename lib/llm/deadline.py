"""A limit on all that one call waits for, however slowly the other side goes on.

The HTTP stack's time-outs count from byte to byte. Headers that drip, interim answers (1xx) without end and pieces of a
body that hold nothing are in time each, and none of them reaches whoever reads the answer: only the streams below see
them come. So each stream asks before it waits, for sync and asyncio alike.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

import httpx2

_deadline: ContextVar[tuple[float, str] | None] = ContextVar("deadline of a call", default=None)


def set_deadline(ends_at: float, said: str) -> None:
    """Let nothing that this thread or task reads or writes from now on go on for longer.

    Args:
        ends_at: of ``time.monotonic()``; counts until another one is set.
        said: what httpx2's ReadTimeout says then.
    """
    _deadline.set((ends_at, said))


def limit_streams(transport: httpx2.HTTPTransport | httpx2.AsyncHTTPTransport) -> None:
    """Have all connections that a transport will make look at the deadline."""
    pool: Any = transport._pool  # noqa: SLF001 - httpx2 hands no backend on
    is_sync = isinstance(transport, httpx2.HTTPTransport)
    pool._network_backend = (_Backend if is_sync else _AsyncBackend)(pool._network_backend)  # noqa: SLF001


def _within(timeout: float | None) -> float | None:
    """The time-out, or what is left of the deadline. Raises httpx2's ReadTimeout where nothing is."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline[0] - time.monotonic()
    if left <= 0:
        raise httpx2.ReadTimeout(deadline[1])
    return left if timeout is None else min(timeout, left)


class _Limited:
    """What makes connections, or one of them; all else is httpcore2's own."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Backend(_Limited):
    def connect_tcp(self, *arguments: Any, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(*arguments, **options))


class _Stream(_Limited):
    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._inner.read(max_bytes, _within(timeout))

    @property
    def write(self) -> Any:
        """The stream's own, asked for before each piece: a function of ours would show the key that leaves."""
        _within(None)
        return self._inner.write

    def start_tls(self, *arguments: Any, **options: Any) -> _Stream:
        return _Stream(self._inner.start_tls(*arguments, **options))


class _AsyncBackend(_Limited):
    async def connect_tcp(self, *arguments: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.connect_tcp(*arguments, **options))


class _AsyncStream(_Stream):
    """What reads and writes gives what is to be awaited."""

    async def start_tls(self, *arguments: Any, **options: Any) -> _AsyncStream:  # type: ignore[override]
        return _AsyncStream(await self._inner.start_tls(*arguments, **options))
