"""Concurrency limit on exports: a few in all, and fewer of one person, so that others find room."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lib.errors import QodexError

MOST_SLOTS = 3
MOST_SLOTS_EACH = 2


class Busy(QodexError):
    """No export slot is free, in all or for this person."""


class ClientDisconnected(Exception):
    """The client that asked for the file has gone, so there is no use in writing on."""


class ExportSlots:
    """The export slots of this process; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a slot inside the block. Raises Busy where none is free."""
        refusal = self.acquire(owner)
        if refusal:
            raise Busy(f"{refusal} Try again in a moment.")
        try:
            yield
        finally:
            self.release(owner)

    def acquire(self, owner: str) -> str | None:
        """Acquire a slot, to be released later; or return the sentence that says why none is free."""
        with self._lock:
            if self._taken[owner] >= MOST_SLOTS_EACH:
                return f"{MOST_SLOTS_EACH} of your exports are running already, and others need room, too."
            if self._taken.total() >= MOST_SLOTS:
                return f"{MOST_SLOTS} exports are running already."
            self._taken[owner] += 1
            return None

    def release(self, owner: str) -> None:
        """Release a slot that was acquired."""
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
