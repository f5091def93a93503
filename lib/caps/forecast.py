"""When a cap is reached, if spending goes on as it did. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lib.caps.reading import Outlook
from lib.caps.windows import WINDOWS
from lib.clock import HOUR, Micros

LOOK_BACK: Micros = 6 * HOUR
"""The time whose spend is the pace."""

AHEAD: tuple[Micros, ...] = tuple(
    hours * HOUR for hours in (*range(1, 13), *range(14, 25, 2), 30, 36, 42, 48)
)
"""The moments that are looked at; a cap is said to be reached at the first where it is."""


def reached_in(outlooks: Sequence[Outlook], window: str, spent_nano: int) -> Micros | None:
    """How long until the window is full; None where it is not within ``AHEAD``.

    Args:
        outlooks: the room at each moment of ``AHEAD`` if nothing new is spent: what rolls off is in it.
        window: ``5h`` or ``7d``.
        spent_nano: what was spent in ``LOOK_BACK``. What is spent on leaves the window again, too.
    """
    for ahead, outlook in zip(AHEAD, outlooks, strict=True):
        if spent_nano * min(ahead, WINDOWS[window]) // LOOK_BACK >= outlook.free_nano[window]:
            return ahead
    return None
