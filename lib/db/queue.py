"""A queue of writers in front of SQLite.

SQLite lets one writer in and makes the others poll; with many processes some starve for seconds.
Writers wait here instead: threads on a lock, processes on an ``flock`` of a file of its own. (The
database file itself must never be opened beside SQLite: closing it would drop SQLite's own locks.)
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WriterQueue:
    """One writer at a time, over all threads and processes of this machine."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + "-queue")
        self._descriptor: int | None = None
        self._thread_lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this writer's turn and keep it inside the block."""
        with self._thread_lock:
            descriptor = self._open()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def forget(self) -> None:
        """After a fork: the parent's lock, and its open file, are not the child's."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._thread_lock = None, threading.Lock()

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor
