"""A queue of writers in front of SQLite.

SQLite lets one writer in and makes the others poll; with many processes some starve for seconds.
Writers wait here instead: threads on locks, processes on an ``flock`` of files of their own. (The
database file itself must never be opened beside SQLite: closing it would drop SQLite's own locks.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

# In SQLite's own words, so that there is one sentence for each.
_REASONS = {
    errno.EACCES: "attempt to write a readonly database",
    errno.EPERM: "attempt to write a readonly database",
    errno.EROFS: "attempt to write a readonly database",
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
}


class QueueUnusable(Exception):
    """The queue's files cannot be made or locked: the folder is read-only, or its disk is full."""


class WriterQueue:
    """One writer at a time, over all threads and processes of this machine."""

    def __init__(self, database: Path) -> None:
        self._files = tuple(_FileLock(database.with_name(database.name + end)) for end in ("-next", "-queue"))
        self._locks = threading.Lock(), threading.Lock()
        self._writer: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this writer's turn and keep it inside the block."""
        if self._writer == threading.get_ident():
            raise RuntimeError("a write inside a write would wait for itself")
        with _in_turn(*self._locks), _in_turn(*self._files):
            self._writer = threading.get_ident()
            try:
                yield
            finally:
                self._writer = None

    def forget(self) -> None:
        """After a fork: the parent's locks, and its open files, are not the child's."""
        for file in self._files:
            file.close()
        self._locks, self._writer = (threading.Lock(), threading.Lock()), None


class _FileLock:
    """A lock that processes share: the kernel gives it back if its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as problem:
            reason = _REASONS.get(problem.errno or 0, os.strerror(problem.errno or 0))
        else:
            return
        raise QueueUnusable(reason)

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


@contextmanager
def _in_turn(ahead: AbstractContextManager[Any], inside: AbstractContextManager[Any]) -> Iterator[None]:
    """Two locks, because one alone goes to whoever just gave it back, before those who wait have woken.

    Who is first in the queue holds ``ahead`` until ``inside`` is free, so nobody has two turns in a row
    while somebody waits.
    """
    with ExitStack() as held:
        with ahead:
            held.enter_context(inside)
        yield
