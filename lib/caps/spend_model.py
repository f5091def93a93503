"""What the coming hours will cost, as quantiles, from the hours before. Pure.

Two simple models look at the same past and are averaged, quantile by quantile: each errs where the other is
good. The pace model scales the spend of the last six hours by how such a pace went on in the past; it is wide.
The profile model takes the same hours of earlier days, scaled by how busy the last six hours were; it is sharp,
and too sure of itself while there are few days. ``make bench ARGS=forecasting`` scores the mean of both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

HOURS_A_DAY = 24
PACE_HOURS = 6
FEWEST_HOURS = 3 * HOURS_A_DAY
"""With less history than this there is no forecast."""

_DAYS_FOR_WEEKDAYS = 28
_FEWEST_LIKE_DAYS = 3
_SHIFTS = np.array([-1, 0, 1])
_CALMEST, _BUSIEST = 0.2, 5.0
_ROUNDING = 1e-12


@dataclass(frozen=True)
class History:
    """Spend of each past hour, the newest whole hour last.

    Args:
        hours: spend of one hour each, in any one unit.
        weekday: of the hour that comes next, Monday 0.
        lags: how many hours ago the same hour of the clock was, one, two, three … days ago; 24, 48, 72 …
            unless the clock was changed in between.
    """

    hours: Floats
    weekday: int = 0
    lags: Sequence[int] = ()
    _sums: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sums", np.concatenate(([0.0], np.cumsum(self.hours))))

    @property
    def length(self) -> int:
        """How many hours are known."""
        return len(self.hours)

    def windows(self, hours: int) -> Floats:
        """The spend of every stretch of so many hours, by its first hour."""
        return self._sums[hours:] - self._sums[:-hours] if hours <= self.length else np.zeros(0)

    @property
    def pace(self) -> float:
        """Spend of the last six hours."""
        return float(self._sums[-1] - self._sums[-1 - PACE_HOURS])

    @property
    def rounding(self) -> float:
        """What the difference of two sums may be of hours in which nothing was spent."""
        return float(self._sums[-1]) * _ROUNDING

    def days_back(self) -> Places:
        """Where the same hour of the clock was on each earlier day: its place in ``hours``, the nearest first."""
        lags = np.array(self.lags or range(HOURS_A_DAY, self.length + 1, HOURS_A_DAY), dtype=np.int64)
        places: Places = self.length - lags
        return places[places >= 0]


def quantiles(history: History, horizon: int, levels: Floats) -> Floats | None:
    """Return quantiles of the spend of the next ``horizon`` hours; None where there is too little history.

    Args:
        history: what is known.
        horizon: hours ahead, at least one.
        levels: which quantiles, each from 0 to 1, ascending.
    """
    if history.length < max(FEWEST_HOURS, PACE_HOURS + horizon):
        return None
    by_pace = _by_pace(history, horizon, levels)
    by_profile = _by_profile(history, horizon, levels)
    return by_pace if by_profile is None else (by_pace + by_profile) / 2


def _by_pace(history: History, horizon: int, levels: Floats) -> Floats:
    after = history.windows(horizon)[PACE_HOURS:]
    paces = history.windows(PACE_HOURS)[: len(after)]
    idle = paces <= history.rounding
    if history.pace <= history.rounding:
        return _quantiles(after[idle], levels) if idle.any() else np.zeros(len(levels))
    if idle.all():
        return np.full(len(levels), history.pace * horizon / PACE_HOURS)
    return history.pace * _quantiles(after[~idle] / paces[~idle], levels)


def _by_profile(history: History, horizon: int, levels: Floats) -> Floats | None:
    places = _like_days(history, horizon)
    starts = (places[:, None] + _SHIFTS).ravel()
    spent = history.windows(horizon)
    starts = starts[(starts >= 0) & (starts < len(spent))]
    if not len(starts):
        return None
    return _busyness(history) * _quantiles(spent[starts], levels)


def _like_days(history: History, horizon: int) -> Places:
    """Earlier days whose hours are all over: of this weekday, else working days or weekends, else all."""
    places = history.days_back()
    over = places + horizon < history.length
    if len(places) < _DAYS_FOR_WEEKDAYS:
        return places[over]
    weekdays = (history.weekday - np.arange(1, len(places) + 1)) % 7
    same, rest = weekdays == history.weekday, (weekdays >= 5) == (history.weekday >= 5)  # noqa: PLR2004 - Saturday
    chosen = next((days for days in (same & over, rest & over) if days.sum() >= _FEWEST_LIKE_DAYS), over)
    found: Places = places[chosen]
    return found


def _quantiles(values: Floats, levels: Floats) -> Floats:
    """As ``numpy.quantile`` (linear), in a fifth of its time."""
    ascending = np.sort(values)
    return np.interp(levels * (len(ascending) - 1), np.arange(len(ascending)), ascending)


def _busyness(history: History) -> float:
    """How busy the last hours were, of what they are at this time of other days; damped."""
    places = history.days_back()
    places = places[places >= PACE_HOURS]
    if not len(places):
        return 1.0
    usual = float(np.median(history.windows(PACE_HOURS)[places - PACE_HOURS]))
    return min(_BUSIEST, max(_CALMEST, math.sqrt(history.pace / usual))) if usual > 0 else 1.0
