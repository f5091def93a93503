"""Forks of a process that uses SQLite.

SQLite notes its file locks in the process's memory. A child that is born while another thread is in a
transaction believes for ever that the lock is taken, and cannot write; one that inherits open connections
reads without the locks that keep a snapshot whole. So a fork waits for a moment without transactions, and
the connections are closed before it.
"""

from __future__ import annotations

import threading

_PATIENCE_SECONDS = 10
"""How long a fork waits for transactions of other threads; they are short."""


class ForkGate:
    """Counts the transactions in progress (each a ``with`` block), and lets none begin while a fork is under way."""

    def __init__(self) -> None:
        self._calm = threading.Condition()
        self._inside: dict[int, int] = {}

    def __enter__(self) -> None:
        """A transaction of this thread begins."""
        me = threading.get_ident()
        with self._calm:
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        """It ended."""
        me = threading.get_ident()
        with self._calm:
            left = self._inside.pop(me, 1) - 1
            if left:
                self._inside[me] = left
            else:
                self._calm.notify_all()

    def close(self) -> bool:
        """Let nobody else begin; wait until nobody is inside. False where somebody still is, at last."""
        me = threading.get_ident()
        self._calm.acquire()
        return self._calm.wait_for(lambda: not (self._inside.keys() - {me}), _PATIENCE_SECONDS)

    def open(self) -> None:
        """The fork is done, and this is the parent."""
        self._calm.release()

    def renew(self) -> None:
        """The fork is done, and this is the child: its other threads do not exist."""
        self._calm, self._inside = threading.Condition(), {}
