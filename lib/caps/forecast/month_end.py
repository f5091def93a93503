"""What a month will have cost at its end, as a range, from the days before. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lib.caps.forecast.spend_model import Floats

FEWEST_DAYS = 3
"""With fewer whole days there is no forecast."""

_DRAWS = 500
_WEEK = 7
_WEEKS_BACK = 8
_DAYS_FOR_WEEKS = 3 * _WEEK
_CALMEST, _BUSIEST = 0.5, 2.0
_LEVELS = (0.1, 0.5, 0.9)


class Range(NamedTuple):
    """In four of five cases the outcome lies between ``low`` and ``high``; it is as likely above ``middle`` as below."""

    low: float
    middle: float
    high: float


def rest_of_month(days: Floats, today: float, days_left: int) -> Range | None:
    """Return what will be spent from now to the month's end; None where there is too little history.

    Each of 500 draws goes on with whole weeks of the last eight, taken at random and kept in the order of their
    weekdays, scaled by how busy the last week was. The draws are the same every time.

    Args:
        days: spend of each past whole day, oldest first, yesterday last.
        today: spend of the day that is under way; its rest is what a whole day would cost beyond that.
        days_left: days of the month after today.
    """
    if len(days) < FEWEST_DAYS:
        return None
    draws = _busyness(days) * _draws(days, days_left + 1)
    draws[:, 0] = np.maximum(0.0, draws[:, 0] - today)
    return Range(*(float(each) for each in np.quantile(draws.sum(axis=1), _LEVELS)))


def _draws(days: Floats, wanted: int) -> Floats:
    """Days to come, one draw a row, today first."""
    chance = np.random.default_rng(0)
    if len(days) < _DAYS_FOR_WEEKS:
        return chance.choice(days, size=(_DRAWS, wanted))
    weeks = min(len(days) // _WEEK, _WEEKS_BACK)
    # The last row ends yesterday, so that column 0 of each row is the weekday of today.
    table = days[-weeks * _WEEK :].reshape(weeks, _WEEK)
    blocks = math.ceil(wanted / _WEEK)
    chosen = chance.integers(0, weeks, size=(_DRAWS, blocks))
    drawn: Floats = table[chosen].reshape(_DRAWS, blocks * _WEEK)[:, :wanted]
    return drawn


def _busyness(days: Floats) -> float:
    """The last week against the weeks before it; damped."""
    if len(days) < 2 * _WEEK:
        return 1.0
    weeks = days[-(len(days) // _WEEK) * _WEEK :].reshape(-1, _WEEK).sum(axis=1)
    usual = float(np.median(weeks[-_WEEKS_BACK - 1 : -1]))
    return min(_BUSIEST, max(_CALMEST, math.sqrt(float(weeks[-1]) / usual))) if usual > 0 else 1.0
