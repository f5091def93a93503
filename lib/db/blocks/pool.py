"""The connections of one process: a few, kept open, each used by one block at a time.

Not SQLAlchemy's pool: its locks are Python's, and stay taken where an exception from outside comes in between.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lib.db.blocks.causes import PoolExhausted
from lib.db.blocks.limits import Limits
from lib.db.blocks.line import Line, Ticket, WaitedTooLong

_abandoned: list[object] = []
"""Connections of a parent process. While they stand here, the child does not close them."""


class Driver(Protocol):
    """What differs between the two engines."""

    name: str
    engine: Engine

    def begin(self, driver: Any, *, write: bool, durable: bool, seconds: float | None) -> None:
        """Begin a transaction."""

    def commit(self, driver: Any) -> None:
        """Keep what was written."""

    def rollback(self, driver: Any) -> None:
        """Undo what was written, and leave the connection fit for the next transaction."""

    def end_read(self, driver: Any) -> None:
        """End a transaction that was to read only; nothing that it wrote stays."""

    def call_function(
        self, driver: Any, name: str, asked: str, *, durable: bool, seconds: float | None
    ) -> Any:
        """Call a function of the database in a transaction of its own; None where it leaves that to statements."""

    def close(self, driver: Any) -> None:
        """Close it, whatever state it is in."""

    def is_alive(self, driver: Any) -> bool:
        """False where the server has ended the connection."""


class Kept:
    """One open connection. SQLAlchemy's wrapping around it is made anew for each block, so nothing of it stays."""

    def __init__(self, side: Driver, generation: object) -> None:
        self.side, self.generation = side, generation
        self._raw = side.engine.raw_connection()
        self._raw.detach()  # from SQLAlchemy's bookkeeping
        self.driver: Any = self._raw.dbapi_connection

    def connection(self) -> Connection:
        """For one block. It never commits by itself: the transaction around it is ours."""
        connection = Connection(self.side.engine, self._raw)
        connection.begin()  # of nothing: the driver is in autocommit
        return connection

    def close(self) -> None:
        """For good. Doing it twice changes nothing."""
        with suppress(self.side.engine.dialect.loaded_dbapi.Error):
            self.side.close(self.driver)

    def __del__(self) -> None:
        """Closed, too, where no thread came to it."""
        if "driver" in self.__dict__:
            self.close()


class Pool:
    """Lends connections: the one used last first, so that few are needed."""

    def __init__(self, side: Driver, limits: Limits) -> None:
        self._side, self._limits = side, limits
        self._line = Line(limits.pool)
        self._idle: deque[Kept] = deque()
        self._generation = object()

    @property
    def in_use(self) -> int:
        """How many are lent."""
        return len(self._line.living())

    def enter(self, seconds: float) -> Ticket | None:
        """Wait for a connection to be free. A block inside another one never waits: it would wait for its own thread.

        Raises:
            PoolExhausted: none became free in time.
        """
        if self._line.is_full() and self._line.has(threading.get_ident()):
            return None
        try:
            return self._line.enter(seconds)
        except WaitedTooLong:
            raise PoolExhausted("no connection of this process was free in time") from None

    def leave(self, ticket: Ticket) -> None:
        """The connection was given back. Doing it twice changes nothing."""
        self._line.leave(ticket)

    def take(self) -> Kept:
        """An open connection; the caller holds a ticket."""
        while True:
            try:
                kept = self._idle.pop()
            except IndexError:
                return self.connect()
            if self._side.is_alive(kept.driver):
                return kept

    def connect(self) -> Kept:
        """A new one. Raises SQLAlchemy's and the driver's errors."""
        error = self._side.engine.dialect.loaded_dbapi.Error
        try:
            return Kept(self._side, self._generation)
        except error as problem:
            raise DBAPIError.instance(None, None, problem, error, hide_parameters=True) from problem

    def give_back(self, kept: Kept) -> None:
        """Give a connection back that is fit for the next block."""
        if kept.generation is not self._generation:
            _abandoned.append(kept)
        elif len(self._idle) < self._limits.pool:
            self._idle.append(kept)
        else:
            kept.close()

    def discard(self, kept: Kept) -> None:
        """Give up a connection whose state is unknown."""
        if kept.generation is not self._generation:
            _abandoned.append(kept)
        else:
            kept.close()

    def close_idle(self) -> None:
        """Close what is not in use."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def forget(self) -> None:
        """In a child: the parent's connections must not be touched, nor closed."""
        _abandoned.extend(self._idle)
        self._idle = deque()
        self._line = Line(self._limits.pool)
        self._generation = object()
