"""When a rolling cap is reached: coming spend against the room that old spend leaves as it rolls off. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lib.caps.forecast.spend_forecast import quantiles_of_each
from lib.caps.forecast.spend_model import Floats, SpendHistory

AHEAD_HOURS = (*range(1, 13), *range(14, 25, 2), 30, 36, 42, 48)
"""The hours ahead that are looked at."""

_LEARNED = (1, 5, 24)
"""The hours ahead for which models are weighed and spread; what lies between is between."""

_LEVELS: Floats = np.arange(1, 100) / 100
SOON_HOURS = 5
SURE, _POSSIBLE = 0.8, 0.3
_LOW, _MIDDLE, _HIGH = 0.1, 0.5, 0.9


@dataclass(frozen=True)
class TimeToCap:
    """How likely a cap is reached, and when; hours from now.

    ``median`` and the two ends of the range in the middle of which 80 % of the outcomes lie are None where the
    cap is likelier not to be reached within 48 hours by then.
    """

    chance_soon: float
    """That it is reached within the next five hours."""
    chance: float
    """That it is reached within 48 hours."""
    earliest: float | None
    median: float | None
    latest: float | None

    @property
    def verdict(self) -> Literal["will", "may"] | None:
        """``will``, ``may``, or None: by the chance within 48 hours that is at least 80 or 30 %."""
        if self.chance >= SURE:
            return "will"
        return "may" if self.chance >= _POSSIBLE else None


def spend_paths(history: SpendHistory) -> Floats | None:
    """Return the spend up to each of ``AHEAD_HOURS`` (columns) at 99 levels (rows); None without enough history.

    A path keeps its level: one that spends much in the first hour goes on so. What is left out, that a busy hour may
    be followed by a calm one, would make the range of hours narrower than it is.
    """
    found = quantiles_of_each(history, AHEAD_HOURS, _LEVELS, learned=_LEARNED)
    return None if found is None else np.maximum.accumulate(found.T, axis=1)


def time_to_cap(paths: Floats, free_now: float, room: Sequence[float], length_hours: int) -> TimeToCap:
    """Return when coming spend takes the room of a window.

    Args:
        paths: from ``spend_paths``.
        free_now: what is free at this moment, in the unit of the paths.
        room: what is free at each of ``AHEAD_HOURS`` if nothing new is spent.
        length_hours: of the window; what is spent leaves it again after that time.
    """
    hours = np.array([0, *AHEAD_HOURS], dtype=np.float64)
    spent = np.hstack((np.zeros((len(paths), 1)), paths))
    missing = _held(spent, hours, length_hours) - np.array([free_now, *room], dtype=np.float64)
    when = np.sort(_first_crossing(missing, hours))
    early, middle, late = (_at(when, share) for share in (_LOW, _MIDDLE, _HIGH))
    return TimeToCap(float((when <= SOON_HOURS).mean()), float(np.isfinite(when).mean()), early, middle, late)


def new_spend_range(paths: Floats, length_hours: int) -> Floats:
    """Return what of the coming spend a window holds at each of ``AHEAD_HOURS`` (columns).

    The rows are the low and high end of the middle 80 % of the outcomes, and between them the median.
    """
    hours = np.array([0, *AHEAD_HOURS], dtype=np.float64)
    spent = np.hstack((np.zeros((len(paths), 1)), paths))
    held = np.sort(_held(spent, hours, length_hours)[:, 1:], axis=0)
    return held[[round(share * (len(held) - 1)) for share in (_LOW, _MIDDLE, _HIGH)]]


def _held(spent: Floats, hours: Floats, length: int) -> Floats:
    """What of the new spend is in the window at each hour: what was spent a window's length ago has left it."""
    asked = np.maximum(0.0, hours - length)
    after = np.maximum(1, np.searchsorted(hours, asked))
    share = (asked - hours[after - 1]) / (hours[after] - hours[after - 1])
    gone: Floats = spent[:, after - 1] + share * (spent[:, after] - spent[:, after - 1])
    return spent - gone


def _first_crossing(missing: Floats, hours: Floats) -> Floats:
    """For each path the hour at which ``missing`` first reaches 0, between two hours on a straight line."""
    reached = missing >= 0
    place = reached.argmax(axis=1)
    rows, before = np.arange(len(missing)), np.maximum(0, place - 1)
    low, high = missing[rows, before], missing[rows, place]
    share = np.divide(-low, high - low, out=np.zeros(len(rows)), where=high > low)
    at = hours[before] + share * (hours[place] - hours[before])
    crossing: Floats = np.where(reached.any(axis=1), np.where(place == 0, 0.0, at), np.inf)
    return crossing


def _at(ascending: Floats, share: float) -> float | None:
    value = float(ascending[min(len(ascending) - 1, int(share * len(ascending)))])
    return value if np.isfinite(value) else None
