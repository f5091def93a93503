"""The lock of the HTTP stack's connection pool, as one that cannot stay taken.

httpcore2 takes a lock of Python's around its pool's lists, some times in each call. Where an exception from outside (a
signal handler's) comes just as it is to be given back, it stays taken for ever, and each later call of the process
waits for good. So each ``with`` on it takes a ticket (lib.db.blocks.line), whose place is free when it is gone.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from lib.db.blocks.line import Line, Ticket


def make_interruptible(pool: Any) -> None:
    """Have a pool of httpcore2's take its turns so."""
    kind = type(pool)
    pool.turns = Line(1)
    pool.__class__ = type(kind.__name__, (_WithTurns, kind), {"__module__": kind.__module__})


class _WithTurns:
    """Wins over the attribute that each pool of httpcore2's sets."""

    turns: Line

    @property
    def _optional_thread_lock(self) -> _Turn:
        return _Turn(self.turns)

    @_optional_thread_lock.setter
    def _optional_thread_lock(self, _: object) -> None:
        """Not taken: it is the one that could stay taken."""


class _Place:
    """What a turn holds. Only the interpreter keeps it, and drops it at the end of the block, in whatever way."""

    ticket: Ticket | None = None

    def __init__(self, line: Line) -> None:
        self._line = line

    def take(self) -> None:
        """Wait for the turn. A thread that has it already does not: a finalizer may start in its middle."""
        if not self._line.has(threading.get_ident()):
            self.ticket = self._line.enter(sys.maxsize)

    def leave(self) -> None:
        """Give it back. Twice changes nothing."""
        if self.ticket is not None:
            self._line.leave(self.ticket)


class _Exit(partial[None]):
    """What the interpreter calls at the end of a block, and all that keeps the place meanwhile."""

    place: _Place


class _Ending:
    """Makes the end of a block when the interpreter looks for it (lib.db.blocks.checkout.Block says why)."""

    def __get__(self, turn: _Turn | None, _kind: object = None) -> Callable[..., None]:
        return _leave if turn is None else turn.ending()


class _Turn:
    """A ``with`` block on the pool, for one use."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __enter__(self) -> None:
        _call(self._reference, _Place.take)

    __exit__ = _Ending()

    def ending(self) -> Callable[..., None]:
        """Make the place, and what ends it."""
        place = _Place(self._line)
        self._reference = weakref.ref(place)
        leave = _Exit(_leave, self._reference)
        leave.place = place
        return leave


def _leave(reference: weakref.ref[_Place], *_error: object) -> None:
    try:
        _call(reference, _Place.leave)
    finally:
        _call(reference, _Place.leave)


def _call(reference: weakref.ref[_Place], what: Callable[[_Place], None]) -> None:
    place = reference()
    if place is not None:
        what(place)
