"""Forks of a process that uses SQLite.

SQLite notes its file locks in the process's memory. A child that is born while another thread is in a
transaction believes for ever that the lock is taken, and cannot write; one that inherits open connections
reads without the locks that keep a snapshot whole. So a fork waits for a moment without transactions, and
the connections are closed before it.
"""

from __future__ import annotations

import sys
import threading
import time

from lib.db.blocks.line import Line, Ticket

_PATIENCE_SECONDS = 10
"""How long a fork waits for transactions of other threads; they are short."""
_STEP = 0.001


class ForkGuard:
    """Knows the transactions in progress, and lets none begin while a fork is under way.

    Both ways by construction (lib.db.blocks.line): who is gone holds no fork up, and a fork whose end was missed holds
    no thread up for longer than its own patience.
    """

    def __init__(self) -> None:
        self._inside = Line(sys.maxsize)
        self._forking: tuple[int, float] | None = None

    def enter(self) -> Ticket:
        """A transaction of this thread begins."""
        while True:
            ticket = self._inside.enter(0)
            if not self._is_closed():
                return ticket
            self._inside.leave(ticket)
            time.sleep(_STEP)

    def leave(self, ticket: Ticket) -> None:
        """Note that a transaction has ended."""
        self._inside.leave(ticket)

    def close(self) -> bool:
        """Let no other thread begin; wait until none is inside. False where one still is, at last."""
        me, until = threading.get_ident(), time.monotonic() + _PATIENCE_SECONDS
        self._forking = me, until + 1
        while any(ticket.thread != me for ticket in self._inside.living()):
            if time.monotonic() > until:
                return False
            time.sleep(_STEP)
        return True

    def open(self) -> None:
        """The fork is done, and this is the parent."""
        self._forking = None

    def renew(self) -> None:
        """The fork is done, and this is the child: its other threads do not exist."""
        self._inside, self._forking = Line(sys.maxsize), None

    def _is_closed(self) -> bool:
        forking = self._forking
        return forking is not None and forking[0] != threading.get_ident() and time.monotonic() < forking[1]
