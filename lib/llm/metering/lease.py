"""How long one attempt may go without a heartbeat before the ledger takes it for lost."""

from __future__ import annotations

import time

from lib.clock import SECOND, Micros
from lib.db.reentrancy import started_by_runtime
from lib.errors import LeaseLost, QodexError


class Lease:
    """The lease of one attempt, as its own process sees it. It begins when it is made."""

    def __init__(self, length: Micros) -> None:
        self.length = length
        self._seconds = length / SECOND
        self.renewed()

    def is_due(self) -> bool:
        """Whether half of the lease is gone since the last heartbeat."""
        return time.monotonic() > self._due_at and not started_by_runtime()

    def renewed(self) -> None:
        """The ledger knows that the attempt lives."""
        now = time.monotonic()
        self._ends_at, self._due_at = now + self._seconds, now + self._seconds / 2

    def loss(self, problem: QodexError) -> LeaseLost | None:
        """What a failed renewal means: cut the call, or go on (None) while the lease has not run out."""
        if isinstance(problem, LeaseLost):
            return problem
        now = time.monotonic()
        self._due_at = now + self._seconds / 20
        if now < self._ends_at:
            return None
        return LeaseLost("The call was cut: its sign of life could not be written for too long.")
