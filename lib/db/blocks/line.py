"""Places that are free by themselves again, whatever becomes of who had them.

A lock that has to be given back stays taken where an exception from outside (a signal handler that raises, a test's
time-out) comes between the two lines that would give it back. So nothing here has to be given back: a place belongs
to a ticket, the first living tickets of a line have the places, and one that is gone has none. Leaving in the
ordinary way is quicker, and wakes the next; where even that was interrupted, a waiting thread looks again by itself.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from queue import Empty, SimpleQueue

_LOOK_AGAIN = 0.05  # seconds


class WaitedTooLong(Exception):
    """No place became free in time."""


class Ticket:
    """A place in a line, from its front on the right to go ahead."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.reference = weakref.ref(self)
        self.woken: SimpleQueue[None] | None = None


class Line:
    """Threads in the order of their coming; the first ``places`` of them go ahead."""

    def __init__(self, places: int) -> None:
        self._places = places
        # Each step on it is a single one of the interpreter: no lock is needed, and none can stay taken.
        self._tickets: deque[weakref.ref[Ticket]] = deque()

    def enter(self, seconds: float) -> Ticket:
        """Wait for a place. Raises WaitedTooLong."""
        ticket = Ticket()
        try:
            self._tickets.append(ticket.reference)
            if len(self._tickets) > self._places:
                self._wait(ticket, time.monotonic() + seconds)
            return ticket
        except BaseException:
            self.leave(ticket)
            raise

    def leave(self, ticket: Ticket) -> None:
        """Give the place back, and wake who is next. Doing it twice changes nothing."""
        try:
            self._tickets.remove(ticket.reference)
        except ValueError:
            return
        if self._tickets:
            self._wake()

    def living(self) -> list[Ticket]:
        """Who stands in the line, in order."""
        tickets = []
        for reference in self._references():
            ticket = reference()
            if ticket is not None:
                tickets.append(ticket)
            else:
                self._strike(reference)
        return tickets

    def is_full(self) -> bool:
        """Whether one more would have to wait."""
        return len(self._tickets) >= self._places

    def has(self, thread: int) -> bool:
        """Whether that thread is in the line."""
        return any(ticket.thread == thread for ticket in self.living())

    def _wait(self, ticket: Ticket, deadline: float) -> None:
        ticket.woken = SimpleQueue()
        while ticket not in self.living()[: self._places]:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitedTooLong
            try:
                ticket.woken.get(timeout=min(left, _LOOK_AGAIN))
            except Empty:
                continue

    def _wake(self) -> None:
        for ticket in self.living()[: self._places]:
            if ticket.woken is not None:
                ticket.woken.put(None)

    def _references(self) -> tuple[weakref.ref[Ticket], ...]:
        while True:
            try:
                return tuple(self._tickets)
            except RuntimeError:  # the garbage collector changed it meanwhile
                continue

    def _strike(self, reference: weakref.ref[Ticket]) -> None:
        try:
            self._tickets.remove(reference)
        except ValueError:
            return
