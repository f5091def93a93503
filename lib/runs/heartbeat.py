"""Signs of life of the runs in this process, so that a dead worker's run is soon known to be lost."""

from __future__ import annotations

import logging
import os
import threading

from lib.runs.lifecycle import HEARTBEAT_SECONDS, RunStore

log = logging.getLogger(__name__)


class Heartbeat:
    """One daemon thread, started with the first run and gone with the last one."""

    def __init__(self, runs: RunStore, interval: float = HEARTBEAT_SECONDS) -> None:
        self._runs = runs
        self._interval = interval
        self._thread: threading.Thread | None = None
        self._start_anew()
        os.register_at_fork(after_in_child=self._start_anew)  # threads do not cross a fork

    def add(self, run_id: str) -> None:
        """Keep this run alive until ``drop``."""
        with self._lock:
            self._alive.add(run_id)
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._beat, daemon=True, name="qodex-heartbeat")
                self._thread.start()

    def drop(self, run_id: str) -> None:
        """This run has ended."""
        with self._lock:
            self._alive.discard(run_id)
            if not self._alive:
                self._wake.set()
                self._thread = None

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._alive: set[str] = set()
        self._thread = None

    def _beat(self) -> None:
        me = threading.current_thread()
        while not self._wake.wait(self._interval):
            with self._lock:
                alive = sorted(self._alive) if self._thread is me else []
            if not alive:
                return
            try:
                self._runs.keep_alive(alive)
            except Exception as problem:  # noqa: BLE001 - whatever it was, the next one may be written
                log.warning("A sign of life could not be written: %s", problem)
