"""Signs of life of the runs in this process, so that a dead worker's run is soon known to be lost."""

from __future__ import annotations

import logging
import os
import threading
import time

from lib.runs.lifecycle import HEARTBEAT_SECONDS, RunStore, StartedRun

log = logging.getLogger(__name__)


class Heartbeat:
    """One daemon thread, started with the first run; it ends some time after the last one.

    There is no lock in it: an exception from outside, a signal's, could leave that locked for ever. Two threads at
    once would do no harm either, they would only say twice that a run lives.
    """

    def __init__(self, runs: RunStore, interval: float = HEARTBEAT_SECONDS) -> None:
        self._runs = runs
        self._interval = interval
        self._alive: set[StartedRun] = set()
        self._thread: threading.Thread | None = None
        os.register_at_fork(after_in_child=self._start_anew)  # threads do not cross a fork

    def add(self, run: StartedRun) -> None:
        """Keep this run alive until ``drop``."""
        self._alive.add(run)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._beat, daemon=True, name="qodex-heartbeat")
            self._thread.start()

    def drop(self, run: StartedRun) -> None:
        """Stop the heartbeat of a run that has ended."""
        self._alive.discard(run)

    def _start_anew(self) -> None:
        self._alive, self._thread = set(), None

    def _beat(self) -> None:
        while True:
            time.sleep(self._interval)
            alive = list(self._alive.copy())
            if alive:
                self._keep_alive(alive)
                continue
            self._thread = None
            if not self._alive:
                return  # a run that is added from here on starts another thread
            self._thread = threading.current_thread()

    def _keep_alive(self, alive: list[StartedRun]) -> None:
        try:
            self._runs.keep_alive(alive)
        except Exception as problem:  # noqa: BLE001 - whatever it was, the next one may be written
            log.warning("A sign of life could not be written: %s", problem)
