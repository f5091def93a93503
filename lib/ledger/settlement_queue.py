"""What this process owes to the ledger: written at once where that is possible, else in the background, in order.

An answer that has been paid for reaches its caller whatever the database does, and a known cost is not lost
whatever interrupts its settlement. So each thing that has to be written is noted here first, in one step that
nothing can cut in two, and taken off again once it is written. What could not be written, and what the
collector, a generator's close or a signal left behind, is the background thread's.

Who forgets a call, or is interrupted between any two lines, lets go of its ``Hold``. That is noticed without a
line of Python: the collector hands the guard of the hold to the background thread, through a queue written in C.

Nothing here is durable: what is owed lives as long as its process, and is tried for ``EXIT_SECONDS`` at its end.
After that the lease of an open call runs out, and the ledger itself records that the outcome is unknown.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias
from weakref import WeakSet, ref

from lib.db.reentrancy import started_by_runtime
from lib.errors import DatabaseUnavailable
from lib.interruption import is_from_outside

SETTLE_SECONDS = 5.0
"""How long one step of a settlement may wait for the database before the caller gets its answer without it."""

EXIT_SECONDS = 10.0
"""How long what is owed is tried for at the end of the process."""

MOST_OWED = 10_000
"""With as many things owed no new call is opened: memory has a limit, and a cost is never dropped."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds between tries, doubling
_BROKEN_PAUSE = 60.0  # seconds until what fails for a reason of its own is tried again
_LOOK = 0.005  # seconds between looks of who waits for the background thread

_log = logging.getLogger(__name__)
_queues: WeakSet[SettlementQueue] = WeakSet()
_Work: TypeAlias = "Callable[[], object] | _Guard | None"
_inherited: list[object] = []
"""What was under way in a parent process. While it stands here, the child does not finalize it."""


class Unfinished(Protocol):
    """Something under way that owes the ledger its end."""

    def leave(self) -> None:
        """Enqueue its end as far as it is known, unless that is done. Waits for nothing."""


class Hold:
    """Whoever holds this sees to the end of something; what nobody holds any more is left."""

    __slots__ = ("__weakref__",)


class _Guard(ref[Hold]):
    """Keeps what is under way, and whatever belongs to it, out of the collector's hands while it is held."""

    __slots__ = ("held",)
    held: Unfinished


class _Owed:
    """Something to write. It is the background thread's from ``due`` on (``time.monotonic``)."""

    __slots__ = ("due", "write")

    def __init__(self, write: Callable[[], object], due: float) -> None:
        self.write = write
        self.due = due


class SettlementQueue:
    """What one ledger is owed. Safe for threads, forks, finalizers and signal handlers.

    ``enqueue`` and ``later`` take no lock and touch no database: they may run inside of anything.
    """

    def __init__(self) -> None:
        self._start_anew()
        _queues.add(self)

    def _start_anew(self) -> None:
        self._owed: dict[str, _Owed] = {}
        # Of C: a finalizer may put into it while its own thread does, where a lock would be waited for for ever.
        self._work: SimpleQueue[_Work] = SimpleQueue()
        self._guards: dict[str, _Guard] = {}
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._ended = False

    @property
    def owed(self) -> int:
        """How many things are not written yet, those that are being written just now among them."""
        return len(self._owed)

    @property
    def is_behind(self) -> bool:
        """Whether the database did not answer when it was asked last."""
        return self._failures > 0

    # --- for finalizers too

    def enqueue(self, key: str, write: Callable[[], object]) -> None:
        """Leave it to the background thread. The first thing of a key stays."""
        self._owed.setdefault(key, _Owed(write, 0.0)).due = 0.0
        self._work.put(None)

    def later(self, act: Callable[[], object]) -> None:
        """Have the background thread do something that is owed to nobody, like closing a connection."""
        self._work.put(act)

    # --- for ordinary moments

    def write(self, key: str, write: Callable[[], object]) -> None:
        """Write it now, or owe it where the database does not answer. Raises only what comes from outside.

        While something is owed because the database does not answer, nobody waits for it.
        """
        mine = _Owed(write, time.monotonic() + SETTLE_SECONDS)
        if self._owed.setdefault(key, mine) is not mine:
            return  # another thread is at it
        if started_by_runtime():
            self.enqueue(key, write)
            return
        try:
            written = not self.is_behind and self._try(key, mine)
        except BaseException:
            self.enqueue(key, write)
            raise
        if not written:
            self._work.put(None)
            self._see_to_thread()

    def admit(self) -> None:
        """Before a call: see that somebody writes what is owed, without waiting for it.

        Raises:
            DatabaseUnavailable: too much is owed.
        """
        self._see_to_thread()
        if len(self._owed) < MOST_OWED:
            return
        raise DatabaseUnavailable(
            f"{len(self._owed):,} ended calls could not be written to the database yet, so no new one begins. "
            "Check the database; they are written as soon as it answers."
        )

    def flush(self, seconds: float, *, patiently: bool = False) -> bool:
        """Wait until all that is owed by now is written; whether it is.

        Args:
            seconds: for how long.
            patiently: also while the database does not answer.
        """
        deadline, mine = time.monotonic() + seconds, self._owed.copy()
        if not mine or started_by_runtime():
            return not mine
        if not self._see_to_thread():
            self._pay_due()
        self._work.put(None)
        while any(self._owed.get(key) is owed for key, owed in mine.items()):
            if time.monotonic() > deadline or (self.is_behind and not patiently):
                return False
            time.sleep(_LOOK)
        return True

    def guard(self, key: str, held: Unfinished) -> Hold:
        """Have it left as soon as nobody has the hold any more, and at the end of the process at the latest.

        ``held`` must not lead to the hold.
        """
        hold = Hold()
        guard = _Guard(hold, self._work.put)
        guard.held = held
        self._guards[key] = guard
        return hold

    def unguard(self, key: str) -> None:
        """Note that the call has ended."""
        self._guards.pop(key, None)

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Try what is owed for so long, and end the background thread."""
        if not self.flush(seconds, patiently=True):
            _log.error(
                "Owed to the ledger and not written: %d. Open calls among them end as unknown when their lease has run out.",
                len(self._owed),
            )
        self._ended = True
        self._work.put(None)

    # --- the background thread

    def _see_to_thread(self) -> bool:
        """Have a background thread. False where there cannot be one: the interpreter is ending."""
        if self._thread is not None and self._thread.is_alive():
            return True
        self._ended = False
        self._thread = threading.Thread(
            target=_serve, args=(ref(self), self._work), daemon=True, name="qodex-settlements"
        )
        with suppress(RuntimeError):
            self._thread.start()
            _settle_at_the_end_of_a_child()
        return self._thread.is_alive()

    def _leave_forgotten(self) -> None:
        """What the background thread before this one had been told of when it was ended."""
        for guard in self._guards.copy().values():
            if guard() is None:
                _leave(guard)

    def _pay_due(self) -> float | None:
        """Write what is due, in order. Returns in how many seconds to look again; None: when told."""
        soonest: float | None = None
        for key, owed in self._owed.copy().items():
            left = owed.due - time.monotonic()
            if left <= 0 and not self._try(key, owed):
                if self.is_behind:
                    return self._pause()
                left = owed.due - time.monotonic()
            if left > 0:
                soonest = left if soonest is None else min(left, soonest)
        return soonest

    def _try(self, key: str, owed: _Owed) -> bool:
        try:
            owed.write()
        except DatabaseUnavailable as problem:
            self._failures += 1
            if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8 …: an outage does not fill the log
                _log.warning("%s Owed to the ledger: %d.", problem, len(self._owed))
            owed.due = 0.0
            return False
        except Exception as problem:
            # A signal's, for the caller's own thread; the background thread gets none.
            if is_from_outside(problem) and threading.current_thread() is not self._thread:
                raise
            _log.exception("Something owed to the ledger cannot be written; it is tried again later.")
            owed.due = time.monotonic() + _BROKEN_PAUSE
            return False
        self._owed.pop(key, None)
        if self._failures:
            self._failures = 0
            _log.warning("The database answers again. Still owed to the ledger: %d.", len(self._owed))
        return True

    def _pause(self) -> float:
        return min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2.0 ** min(self._failures, 10))

    @property
    def _is_over(self) -> bool:
        return self._ended and not self._owed


def _serve(reference: ref[SettlementQueue], work: SimpleQueue[_Work]) -> None:
    """The background thread. It keeps nothing alive but the channel that it is told through."""
    pause: float | None = None
    if (started := reference()) is not None:
        started._leave_forgotten()  # noqa: SLF001 - a part of that class, without keeping its object
    del started
    while True:
        _do(work, pause)
        queue = reference()
        if queue is None or queue._is_over:  # noqa: SLF001 - a part of that class, without keeping its object
            return
        pause = queue._pay_due()  # noqa: SLF001
        del queue


def _do(work: SimpleQueue[_Work], pause: float | None) -> None:
    """Wait until told to look, for ``pause`` seconds at most, and do what else there is."""
    with suppress(Empty):
        act = work.get(timeout=pause)
        while True:
            with suppress(Exception):  # a connection that cannot even be closed
                if isinstance(act, _Guard):
                    _leave(act)
                elif act is not None:
                    act()
            act = work.get_nowait()


def _leave(guard: _Guard) -> None:
    held: Unfinished | None = getattr(
        guard, "held", None
    )  # interrupted while it was made, it guards nothing yet
    if held is not None:
        held.leave()


@atexit.register
def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for queue in list(_queues):
        for guard in queue._guards.copy().values():  # noqa: SLF001
            _leave(guard)
        queue.close(max(0.0, deadline - time.monotonic()))


def _settle_at_the_end_of_a_child() -> None:
    """What ``multiprocessing`` forks ends without ``atexit``; it has finalizers of its own."""
    if "multiprocessing.util" in sys.modules:
        sys.modules["multiprocessing.util"].Finalize(None, _at_exit, exitpriority=1)


def _in_child() -> None:
    """After a fork: what the parent owes is the parent's."""
    for queue in list(_queues):
        _inherited.append(queue._guards)  # noqa: SLF001
        queue._start_anew()  # noqa: SLF001


os.register_at_fork(after_in_child=_in_child)
