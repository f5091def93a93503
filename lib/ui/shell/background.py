"""What the dashboard does by itself while it runs: it sends alerts, and keeps and scores forecasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lib.errors import QodexError
from lib.ui.base.server import real_front_door

log = logging.getLogger(__name__)

EVERY_SECONDS_ALERTS = 5
WATCH_SECONDS = 600
FIRST_SECONDS, EVERY_SECONDS = 120, 1200
"""A forecast is kept once an hour however often this is done, and by whichever dashboard comes first."""


@asynccontextmanager
async def background_work() -> AsyncIterator[None]:
    """Work on in the background inside the block."""
    tasks = [asyncio.create_task(each()) for each in (_keep_on, _look_around, _send_alerts)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _keep_on() -> None:
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        await asyncio.to_thread(_keep_forecasts)
        await asyncio.sleep(EVERY_SECONDS)


async def _look_around() -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await asyncio.to_thread(_look)


def _look() -> None:
    try:
        real_front_door().alert_watch.look()
    except QodexError as problem:
        log.warning("Nothing was looked for this time: %s", problem)
    except Exception:
        log.exception("Nothing was looked for this time.")


async def _send_alerts() -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS_ALERTS)
        await asyncio.to_thread(_send_what_is_due)


def _send_what_is_due() -> None:
    try:
        real_front_door().alerts.sender.once()
    except QodexError as problem:
        log.warning("No alerts were sent this time: %s", problem)
    except Exception:
        log.exception("No alerts were sent this time.")


def _keep_forecasts() -> None:
    try:
        real_front_door().forecasts.keep()
    except QodexError as problem:
        log.warning("No forecasts were kept this time: %s", problem)
    except Exception:
        log.exception("No forecasts were kept this time.")
