"""A fair lock of writers in front of SQLite.

SQLite lets one writer in and makes the others poll; with many processes some starve for seconds.
Writers wait here instead: threads in a line, and the first of each process on an ``flock`` of files of their own.
(The database file itself must never be opened beside SQLite: closing it would drop SQLite's own locks.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from pathlib import Path
from queue import Empty, SimpleQueue

from lib.db.blocks.line import Line, Ticket, WaitedTooLong

# In SQLite's own words, so that there is one sentence for each.
_REASONS = {
    errno.EACCES: "attempt to write a readonly database",
    errno.EPERM: "attempt to write a readonly database",
    errno.EROFS: "attempt to write a readonly database",
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
}


class WriterLockUnusable(Exception):
    """The lock's files cannot be made or locked: the folder is read-only, or its disk is full."""


class WriterLock:
    """One writer at a time, over all threads and processes of this machine.

    Two files, because a lock alone goes to the process that just gave it back, before those who wait have
    woken: who is first holds ``-next`` until ``-queue`` is free, so no process has two turns in a row while
    another one waits.
    """

    def __init__(self, database: Path) -> None:
        self._line = Line(1)
        self._next, self._queue = (
            _FileLock(database.with_name(database.name + end)) for end in ("-next", "-queue")
        )

    def enter(self, seconds: float) -> WriterTurn:
        """Wait for this writer's turn.

        Raises:
            WaitedTooLong: it did not come in time.
            WriterLockUnusable: the files are out of reach.
            RuntimeError: this thread has the turn already.
        """
        if self._line.has(threading.get_ident()):
            raise RuntimeError("a write inside a write would wait for itself")
        deadline = time.monotonic() + seconds
        turn = WriterTurn(self._line, self._next, self._queue)
        try:
            turn.ticket = self._line.enter(seconds)
            turn.ahead = self._next.acquire(deadline)
            turn.inside = self._queue.acquire(deadline)
            turn.give_way()
            return turn
        except BaseException:
            turn.leave()
            raise

    def forget(self) -> None:
        """After a fork: the parent's places, and its open files, are not the child's."""
        self._line = Line(1)
        self._next.forget()
        self._queue.forget()


class WriterTurn:
    """The right to write. Left twice, or only dropped, it is free all the same."""

    def __init__(self, line: Line, ahead: _FileLock, inside: _FileLock) -> None:
        self._line, self._next, self._queue = line, ahead, inside
        self.ticket: Ticket | None = None
        self.ahead: _File | None = None
        self.inside: _File | None = None

    def give_way(self) -> None:
        """Let another process be the next one."""
        if self.ahead is not None:
            self._next.release(self.ahead)
        self.ahead = None

    def leave(self) -> None:
        """Give the turn back. Doing it twice changes nothing."""
        if self.inside is not None:
            self._queue.release(self.inside)
        self.inside = None
        self.give_way()
        if self.ticket is not None:
            self._line.leave(self.ticket)
        self.ticket = None

    def __del__(self) -> None:
        """Free, too, where leaving never began."""
        self.leave()


class _File:
    """An open file; closed when it is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def fileno(self) -> int:
        """For flock. Raises ValueError where it is closed."""
        if self._descriptor is None:
            raise ValueError("the file is closed")
        return self._descriptor

    def close(self) -> None:
        """Give it, and its lock, back. Doing it twice changes nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @property
    def closed(self) -> bool:
        """Whether that was done."""
        return self._descriptor is None

    def __del__(self) -> None:
        """Closed, too, where no caller did it."""
        self.close()


class _FileLock:
    """A lock that processes share: the kernel gives it back if its holder dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _File | None = None
        self._waiting: weakref.WeakSet[_File] = weakref.WeakSet()

    def acquire(self, deadline: float) -> _File:
        """Lock it; what is returned has to be released. Threads of this process come one at a time."""
        try:
            return self._try() or self._wait(deadline)
        except OSError as problem:
            number = problem.errno or 0
        raise WriterLockUnusable(_REASONS.get(number, os.strerror(number)))

    def release(self, file: _File) -> None:
        """Let others lock it. Doing it twice changes nothing."""
        if not file.closed:
            fcntl.flock(file, fcntl.LOCK_UN)
        if file is not self._file:
            file.close()

    def forget(self) -> None:
        """In a child: a lock lives as long as any process has its file open."""
        for file in [self._file, *self._waiting]:
            if file is not None:
                file.close()
        self._file = None
        self._waiting = weakref.WeakSet()

    def __del__(self) -> None:
        """Close what is kept open between two turns."""
        self.forget()

    def _open(self) -> _File:
        return _File(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _try(self) -> _File | None:
        if self._file is None:
            self._file = self._open()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return self._file

    def _wait(self, deadline: float) -> _File:
        """The kernel wakes a waiting thread without a time limit: one waits in our place, on a file of its own."""
        wait = _Wait(self._open())
        self._waiting.add(wait.file)
        try:
            threading.Thread(target=wait.lock, daemon=True, name="qodex-writer").start()
            problem = wait.locked.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            wait.give_up()
            raise WaitedTooLong from None
        except BaseException:
            wait.give_up()
            raise
        if problem is not None:
            raise problem
        return wait.file


class _Wait:
    """One thread that waits for a lock in place of another, which may give up."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.locked: SimpleQueue[OSError | None] = SimpleQueue()
        self._given_up = False

    def lock(self) -> None:
        """Wait as long as it takes."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX)
        except OSError as problem:
            self.locked.put(problem)
        else:
            self.locked.put(None)
        if self._given_up:
            self.file.close()

    def give_up(self) -> None:
        """The lock goes with its file: at once where it was got just now, else when it is got."""
        self._given_up = True
        if not self.locked.empty():
            self.file.close()
