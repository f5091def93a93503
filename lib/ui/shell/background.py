"""What the dashboard does by itself while it runs: it sends alerts, keeps and scores forecasts, makes months."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from lib.alerts.delivery.sender import EVERY_SECONDS, WATCH_SECONDS
from lib.db.months.partitioning import make_next_months
from lib.errors import QodexError
from lib.platform import Platform
from lib.ui.base.server import real_front_door

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """Something done again and again; ``failed`` is what the log says where it could not be done."""

    act: Callable[[Platform], object]
    failed: str
    first_seconds: float
    every_seconds: float

    async def go_on(self) -> None:
        await asyncio.sleep(self.first_seconds)
        while True:
            await asyncio.to_thread(self._do)
            await asyncio.sleep(self.every_seconds)

    def _do(self) -> None:
        try:
            self.act(real_front_door())
        except QodexError as problem:
            log.warning("%s: %s", self.failed, problem)
        except Exception:
            log.exception("%s.", self.failed)


_JOBS = (
    _Job(lambda it: it.alerts.sender.once(), "No alerts were sent this time", EVERY_SECONDS, EVERY_SECONDS),
    _Job(lambda it: it.alert_watch.check(), "Nothing was looked for this time", WATCH_SECONDS, WATCH_SECONDS),
    # A forecast is kept once an hour however often this is done, and by whichever dashboard comes first.
    _Job(lambda it: it.forecasts.keep(), "No forecasts were kept this time", 120, 1200),
    _Job(lambda it: make_next_months(it.database), "The next months of events were not made", 60, 86_400),
)


@asynccontextmanager
async def background_work() -> AsyncIterator[None]:
    """Work on in the background inside the block."""
    tasks = [asyncio.create_task(job.go_on()) for job in _JOBS]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
