"""The client's side of the ledger: open, renew, settle; and what is owed when the database fails.

An answer that has been paid for reaches its caller whatever the database does. Settling is tried a few
times, then owed and tried again at the next call of this process; if that never comes, the call's lease
runs out and the ledger itself records that the outcome is unknown.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from lib.clock import Micros
from lib.errors import QodexError
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.opened import OpenCall

_log = logging.getLogger(__name__)
_PAUSES = (0.05, 0.2, 0.5)  # seconds between tries
_PATIENCE = 5.0
_MOST_OWED = 10_000
_THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")
Owed = tuple[OpenCall, AttemptResult, Callable[[], object]]
_owed: WeakKeyDictionary[Ledger, deque[Owed]] = WeakKeyDictionary()


class Books:
    """One ledger as the clients of this process use it. Safe for threads; blocks while the database works."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        # One for all clients of the ledger, so that any next call pays what is owed.
        self._owed = _owed.setdefault(ledger, deque(maxlen=_MOST_OWED))

    def open(
        self,
        run_id: str,
        profile: RequestProfile,
        lease: Micros,
        *,
        instead_of: OpenCall | None = None,
        why: str | None = None,
    ) -> OpenCall:
        """Open a call (see ``Ledger.open`` for what it raises), after trying what is still owed."""
        self.pay()
        refusal: QodexError
        try:
            return self._ledger.open(run_id, profile, lease=lease, instead_of=instead_of, why=why)
        except QodexError as problem:
            refusal = problem.with_traceback(None)  # the ledger's frames hold the key
            refusal.__context__ = refusal.__cause__ = None
        raise refusal

    def renew(self, call: OpenCall, lease: Micros) -> None:
        """Show a sign of life. Raises LeaseLost, DatabaseUnavailable."""
        self._ledger.renew(call, lease)

    def void(self, call: OpenCall) -> None:
        """The request never left."""
        self._try(self._ledger.release, call.run_id, call.id)

    def settle(self, call: OpenCall, outcome: AttemptResult) -> None:
        """Settle, or owe it. Never raises: the caller has an answer to give."""
        begun = time.monotonic()
        for pause in (*_PAUSES, None):
            if self._try(self._ledger.settle, call, outcome):
                return
            if pause is None or time.monotonic() - begun > _PATIENCE:  # waited for long enough
                break
            time.sleep(pause)
        self.owe(call, outcome)

    def owe(
        self, call: OpenCall, outcome: AttemptResult, release: Callable[[], object] = lambda: None
    ) -> None:
        """Leave it for the next call. Takes no lock: this is also called by the garbage collector."""
        self._owed.append((call, outcome, release))

    def pay(self) -> None:
        """Try what is owed; stop at the first that fails."""
        while self._owed:
            try:
                call, outcome, release = self._owed.popleft()
            except IndexError:  # another thread was faster
                return
            with suppress(Exception):  # a connection that cannot even be closed
                release()
            if not self._try(self._ledger.settle, call, outcome):
                self._owed.appendleft((call, outcome, lambda: None))
                return

    def _try(self, act: Callable[..., None], *arguments: Any) -> bool:
        try:
            act(*arguments)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the caller's answer goes first
            _log.warning(
                "The ledger did not answer (%s); the call stays open for now.", type(problem).__name__
            )
            return False
        return True


_pools: dict[int, ThreadPoolExecutor] = {}


def in_thread(act: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> Future[T]:
    """Start ``act`` in a thread that no event loop can cancel and that the end of the process waits for."""
    process = os.getpid()  # threads do not cross a fork
    if process not in _pools:
        _pools.setdefault(process, ThreadPoolExecutor(_THREADS, thread_name_prefix="qodex-ledger"))
    return _pools[process].submit(act, *arguments, **options)
