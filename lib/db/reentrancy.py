"""Which thread is inside a transaction, so that nothing which the runtime starts there begins a second one.

Garbage is collected at any allocation and a signal is handled between any two lines: generators are closed,
``__del__`` and handlers run in whatever thread and at whatever place that happens. In the middle of a
transaction they would wait for a lock that their own thread holds, and PostgreSQL sees no deadlock in it: the
thread would wait for good, and with it every other one that wants the same rows.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet


class _Mark:
    """One transaction of this thread. Nothing but the transaction's own frame holds it."""

    __slots__ = ("__weakref__",)


class _Thread(threading.local):
    def __init__(self) -> None:
        # Weak: an exception from outside may skip the end of a block, but never keeps its frame for ever.
        self.marks: WeakSet[_Mark] = WeakSet()


_thread = _Thread()


@contextmanager
def transaction_mark() -> Iterator[None]:
    """Mark this thread as inside a transaction until the end of the block."""
    mark = _Mark()
    _thread.marks.add(mark)
    try:
        yield
    finally:
        del mark


def in_transaction() -> bool:
    """Whether this thread is inside a transaction, on whichever database."""
    return len(_thread.marks) > 0


def started_by_runtime() -> bool:
    """Whether the caller may run inside something else: in a transaction, or in the close of a generator.

    Then it must not wait for anything (a lock, the database, the network), only leave a note for later.
    """
    return isinstance(sys.exception(), GeneratorExit) or in_transaction()
