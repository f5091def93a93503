"""How many exports run at once: a few in all, and so few of one person that there is room for others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lib.errors import QodexError

MOST_AT_ONCE = 3
MOST_EACH = 2


class Busy(QodexError):
    """As many exports as may run are running, in all or of this person."""


class GoneAway(Exception):
    """Nobody waits for the file any more."""


class Turns:
    """Gives out the turns of this process, to any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def turn(self, owner: str) -> Iterator[None]:
        """Hold a turn. Raises Busy where there is none."""
        refusal = self.take(owner)
        if refusal:
            raise Busy(f"{refusal} Try again in a moment.")
        try:
            yield
        finally:
            self.give_back(owner)

    def take(self, owner: str) -> str | None:
        """Take a turn, to be given back; or, why there is none."""
        with self._lock:
            if self._taken[owner] >= MOST_EACH:
                return f"{MOST_EACH} of your exports are running already, and others need room, too."
            if self._taken.total() >= MOST_AT_ONCE:
                return f"{MOST_AT_ONCE} exports are running already."
            self._taken[owner] += 1
            return None

    def give_back(self, owner: str) -> None:
        """The turn that was taken."""
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
