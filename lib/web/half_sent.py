"""Requests that are sent by half: how long a client may take to say what it asks for, and how many may do so at once.

uvicorn, which all of the dashboard's servers are made of, has a limit between two requests and none within one: a
client that sends half a line holds its connection for ever. An application never learns of such a request, and
neither ``streamlit run`` nor ``gunicorn`` takes a protocol of ours, so the one of uvicorn is watched in its place.

Answers, however slow their reader is, and web sockets are left alone.
"""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import Any, Protocol

from uvicorn.protocols.http.auto import AutoHTTPProtocol

SECONDS = 10.0
"""How long a request may take from its first byte, or from the connection, to its last one."""
MOST = 256
"""How many may be under way at once. For the next one the oldest is closed: an honest one takes moments."""


class _Connection(Protocol):
    """What is used of uvicorn's two protocol classes."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any  # the request that is being answered, or was
    timeout_keep_alive_task: asyncio.TimerHandle | None  # uvicorn's own limit between two requests


class HalfSentRequests:
    """The connections that wait for the rest of a request, the oldest first."""

    def __init__(self, seconds: float = SECONDS, most: int = MOST) -> None:
        self._seconds, self._most = seconds, most
        self._timers: dict[_Connection, asyncio.TimerHandle] = {}

    def look_at(self, connection: _Connection) -> None:
        """Something came, or the connection was made. A deadline that runs is not put off by more bytes."""
        if not _is_half_sent(connection):
            self.forget(connection)
        elif connection not in self._timers:
            while len(self._timers) >= self._most:
                self._end(next(iter(self._timers)))
            self._timers[connection] = connection.loop.call_later(self._seconds, self._end, connection)

    def forget(self, connection: _Connection) -> None:
        """It is complete, or gone."""
        if timer := self._timers.pop(connection, None):
            timer.cancel()

    def _end(self, connection: _Connection) -> None:
        self.forget(connection)
        if _is_half_sent(connection) and not connection.transport.is_closing():
            connection.transport.close()


def _is_half_sent(connection: _Connection) -> bool:
    current: object = connection.transport.get_protocol()
    if current is not connection:
        return False  # it is a web socket now
    cycle = connection.cycle
    if cycle is None or cycle.response_complete:
        return connection.timeout_keep_alive_task is None
    return bool(cycle.more_body and not cycle.response_started)


def limit_half_sent_requests(
    protocol: type[Any] = AutoHTTPProtocol, requests: HalfSentRequests | None = None
) -> None:
    """Have all connections of this process watched. Doing it twice changes nothing.

    Args:
        protocol: uvicorn's class of connections.
        requests: the limits.
    """
    if "_half_sent" in vars(protocol):
        return
    watched = protocol._half_sent = requests or HalfSentRequests()  # noqa: SLF001 - a mark of our own
    for name in ("connection_made", "data_received"):
        setattr(protocol, name, _then(getattr(protocol, name), watched.look_at))
    protocol.connection_lost = _then(protocol.connection_lost, watched.forget)


def _then(method: Any, look: Any) -> Any:
    @wraps(method)
    def looked_at(connection: Any, *arguments: Any) -> None:
        method(connection, *arguments)
        look(connection)

    return looked_at
