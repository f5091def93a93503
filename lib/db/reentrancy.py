"""Which thread is inside a transaction, so that nothing which the runtime starts there begins a second one.

Garbage is collected at any allocation and a signal is handled between any two lines: generators are closed,
``__del__`` and handlers run in whatever thread and at whatever place that happens. In the middle of a
transaction they would wait for a lock that their own thread holds, and PostgreSQL sees no deadlock in it: the
thread would wait for good, and with it every other one that wants the same rows.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager


class Mark:
    """One transaction of a thread. Nothing but what the transaction holds keeps it."""

    __slots__ = ("__weakref__",)


class _Thread(threading.local):
    def __init__(self) -> None:
        # Weak: an exception from outside may skip the end of a block, but never keeps what it held for ever.
        self.marks: list[weakref.ref[Mark]] = []


_thread = _Thread()


def transaction_mark() -> Mark:
    """Mark this thread as inside a transaction for as long as what is returned is kept."""
    mark = Mark()
    _thread.marks = [each for each in _thread.marks if each() is not None] + [weakref.ref(mark)]
    return mark


@contextmanager
def marked() -> Iterator[None]:
    """Mark the block as a transaction is: in it this thread holds locks that a finalizer must not wait for."""
    mark = transaction_mark()
    try:
        yield
    finally:
        del mark


def in_transaction() -> bool:
    """Whether this thread is inside a transaction, on whichever database."""
    return any(each() is not None for each in _thread.marks)


def started_by_runtime() -> bool:
    """Whether the caller may run inside something else: in a transaction, or in the close of a generator.

    Then it must not wait for anything (a lock, the database, the network), only leave a note for later.
    """
    return isinstance(sys.exception(), GeneratorExit) or in_transaction()
