"""The end of a run: written once, whatever interrupts it, and owed while the database does not answer."""

from __future__ import annotations

import logging
import os
from functools import partial

from lib.errors import RunUnknown
from lib.ledger.settlement_queue import Hold, SettlementQueue
from lib.metrics.spans import SPANS
from lib.runs.heartbeat import Heartbeat
from lib.runs.lifecycle import RunStore, StartedRun, require_ending

_log = logging.getLogger(__name__)


class RunEnd:
    """What one run of this process still owes: its end, and heartbeats until that is written.

    Attributes:
        status: ``running``, and after the end what the run ended with.
        is_entered: whether its ``with`` block has begun: an exception may leave it at any place then.
    """

    def __init__(self, queue: SettlementQueue, runs: RunStore, heartbeat: Heartbeat, run: StartedRun) -> None:
        self.status = "running"
        self.is_entered = False
        self._queue, self._runs, self._heartbeat = queue, runs, heartbeat
        self._run = run
        self._key = f"run {run.run_id}"
        self._is_left = False
        self._process = os.getpid()

    def guard(self) -> Hold:
        """Keep the run alive, and have it end as soon as nobody has the hold any more."""
        hold = self._queue.guard(self._key, self)
        self._heartbeat.add(self._run)
        return hold

    def end(self, status: str) -> str:
        """Write the end, or owe it. Returns what the run ended with, as far as that is known.

        Raises:
            BadInput: a run does not end like that.
        """
        require_ending(status)
        self._queue.write(self._key, partial(self._write, status))
        self._queue.unguard(self._key)
        self._is_left = True
        if self.status == "running":
            self.status = status
        return self.status

    def leave(self) -> None:
        """Nobody is there any more to end it: interrupted at the end of its block, or forgotten."""
        if self._is_left or self._process != os.getpid():
            return
        if self.is_entered:
            self._queue.enqueue(self._key, partial(self._write, "error"))
        else:
            self._queue.later(self._drop)
        self._queue.unguard(self._key)
        self._is_left = True

    def _write(self, status: str) -> None:
        try:
            self.status = self._runs.finish(self._run, status)
        except RunUnknown:
            _log.warning("Run %s is not there any more, so its end was not written.", self._run.run_id)
        # Only now: a run without a heartbeat is taken for lost.
        self._heartbeat.drop(self._run)
        SPANS.end_run(self._run.run_id, self.status)

    def _drop(self) -> None:
        self._heartbeat.drop(self._run)
        SPANS.end_run(self._run.run_id, "lost")
