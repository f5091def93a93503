"""One attempt's place in the ledger, from before it is opened until it has ended."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from lib.clock import Micros
from lib.errors import DatabaseUnavailable, QodexError
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret

_THREADS = 8
_FORGOTTEN = Secret("[forgotten]")

P = ParamSpec("P")
T = TypeVar("T")


class Reservation:
    """One attempt's open row: made before anything is sent, and turned into a usage row or taken back.

    Its id is there before the row is, so that an opening which is interrupted half-way can be taken back.
    """

    def __init__(self, ledger: Ledger, run: StartedRun) -> None:
        self.id = str(uuid.uuid4())
        self.queue = ledger.queue
        self.is_done = False
        """True once what it ends with is written, or is the queue's to write."""
        self.result: AttemptResult | None = None
        """How it ended, from the moment that this is known: whatever interrupts its settlement, this is written."""
        self._ledger = ledger
        self._run = run
        self._process = os.getpid()
        self._call: OpenAttempt | None = None

    @property
    def call(self) -> OpenAttempt:
        """What the ledger has opened, with the key until that is forgotten."""
        if self._call is None:
            raise RuntimeError("the attempt was not opened")
        return self._call

    def open(
        self, profile: RequestProfile, lease: Micros, instead_of: OpenAttempt | None, why: str | None
    ) -> None:
        """Open the row (see ``Ledger.open`` for what it raises). Blocks while the database works."""
        self.queue.admit()
        refusal: QodexError
        try:
            self._call = self._ledger.open(
                self._run, profile, lease=lease, event_id=self.id, instead_of=instead_of, why=why
            )
            return
        except QodexError as problem:
            # Only without an answer of the database the row may be there all the same.
            if not isinstance(problem, DatabaseUnavailable):
                self._done()
            refusal = problem.with_traceback(None)  # the ledger's frames hold the key
            refusal.__context__ = refusal.__cause__ = None
        raise refusal

    def forget_key(self) -> None:
        """Forget the key: the request has been sent, or never will be."""
        if self._call is not None:
            self._call = replace(self._call, secret=_FORGOTTEN)

    def renew(self, lease: Micros) -> None:
        """Send a heartbeat. Raises LeaseLost, DatabaseUnavailable."""
        self._ledger.renew(self.call, lease)

    def settle(self, result: AttemptResult) -> None:
        """Write the usage row, or owe it. Never raises for the database: the caller has an answer to give."""
        self.result = result
        self._end(self.queue.write, self._settlement(result))

    def release(self, why: str | None = None) -> None:
        """Nothing was sent: give the reservation back, or owe that."""
        self._end(self.queue.write, partial(self._ledger.release, self._run.project_id, self.id, why=why))

    def leave(self, result: AttemptResult | None) -> None:
        """Owe its end: what is known of it, or None where nothing was sent. Waits for nothing, for finalizers."""
        result = self.result or result
        release = partial(self._ledger.release, self._run.project_id, self.id)
        self._end(self.queue.enqueue, release if result is None else self._settlement(result))

    def _settlement(self, result: AttemptResult) -> Callable[[], None]:
        self.forget_key()
        return partial(self._ledger.settle, self.call, result)

    def _end(self, how: Callable[[str, Callable[[], None]], None], write: Callable[[], None]) -> None:
        if self.is_done or self._process != os.getpid():  # after a fork it is the parent's to end
            return
        how(self.id, write)
        self._done()

    def _done(self) -> None:
        # In this order: interrupted in between, it is left once more, and not guarded for ever.
        self.queue.unguard(self.id)
        self.is_done = True


_pools: dict[int, ThreadPoolExecutor] = {}


def in_thread(act: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
    """Start ``act`` in a thread that no event loop can cancel and that the end of the process waits for."""
    process = os.getpid()  # threads do not cross a fork
    if process not in _pools:
        _pools.setdefault(process, ThreadPoolExecutor(_THREADS, thread_name_prefix="qodex-ledger"))
    return _pools[process].submit(act, *arguments, **options)
