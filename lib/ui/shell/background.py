"""What the dashboard does by itself while it runs: it keeps a forecast of each project an hour, and scores the old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lib.errors import QodexError
from lib.ui.base.server import real_front_door

log = logging.getLogger(__name__)

FIRST_SECONDS, EVERY_SECONDS = 120, 1200
"""A forecast is kept once an hour however often this is done, and by whichever dashboard comes first."""


@asynccontextmanager
async def background_work() -> AsyncIterator[None]:
    """Work on in the background inside the block."""
    task = asyncio.create_task(_keep_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_on() -> None:
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        await asyncio.to_thread(_keep_forecasts)
        await asyncio.sleep(EVERY_SECONDS)


def _keep_forecasts() -> None:
    try:
        real_front_door().forecasts.keep()
    except QodexError as problem:
        log.warning("No forecasts were kept this time: %s", problem)
    except Exception:
        log.exception("No forecasts were kept this time.")
