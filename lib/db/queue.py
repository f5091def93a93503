"""A queue of writers in front of SQLite.

SQLite lets one writer in and makes the others poll; with many processes some starve for seconds.
Writers wait here instead: threads on a lock, processes on an ``flock`` of a file of its own. (The
database file itself must never be opened beside SQLite: closing it would drop SQLite's own locks.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# In SQLite's own words, so that there is one sentence for each.
_REASONS = {
    errno.EACCES: "attempt to write a readonly database",
    errno.EPERM: "attempt to write a readonly database",
    errno.EROFS: "attempt to write a readonly database",
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
}


class QueueUnusable(Exception):
    """The queue's file cannot be made or locked: the folder is read-only, or its disk is full."""


class WriterQueue:
    """One writer at a time, over all threads and processes of this machine."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-queue")
        self._descriptor: int | None = None
        self._thread_lock = threading.Lock()
        self._writer: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this writer's turn and keep it inside the block."""
        if self._writer == threading.get_ident():
            raise RuntimeError("a write inside a write would wait for itself")
        with self._thread_lock:
            descriptor = self._locked()
            self._writer = threading.get_ident()
            try:
                yield
            finally:
                self._writer = None
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def forget(self) -> None:
        """After a fork: the parent's lock, and its open file, are not the child's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._thread_lock, self._writer = None, threading.Lock(), None

    def _locked(self) -> int:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as problem:
            reason = _REASONS.get(problem.errno or 0, os.strerror(problem.errno or 0))
        else:
            return self._descriptor
        raise QueueUnusable(reason)
