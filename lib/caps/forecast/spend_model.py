"""What the coming hours cost, by two simple models, from the hours before. Pure.

Each errs where the other is good. The pace model scales the recent pace by how such a pace went on in the past; it
follows a change at once, and is wide. The profile model takes the same hours of earlier days, scaled by how busy the
last hours were; it is sharp, and too sure of itself while there are few days. ``lib.caps.forecast.spend_forecast`` weighs them.

Both answer for several origins at once, the present or hours of the past, each from what was known by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

HOURS_A_DAY = 24
PACE_HOURS = 6
FEWEST_HOURS = 3 * HOURS_A_DAY
"""With less history than this there is no forecast."""

_DAYS_FOR_WEEKDAYS = 28
_FEWEST_LIKE_DAYS = 3
_SATURDAY = 5
_SHIFTS = np.array([-1, 0, 1])
_CALMEST, _BUSIEST = 0.2, 5.0
_MEDIAN: Floats = np.array([0.5])
_ROUNDING = 1e-12


@dataclass(frozen=True)
class SpendHistory:
    """Spend of each past hour, the newest whole hour last.

    Args:
        hours: spend of one hour each, in any one unit.
        weekday: of the hour that comes next, Monday 0.
        lags: how many hours ago the same hour of the clock was, one, two, three … days ago; 24, 48, 72 …
            unless the clock was changed in between.
        hour: of the clock, that of the hour that comes next.
    """

    hours: Floats
    weekday: int = 0
    lags: Sequence[int] = ()
    hour: int = 0
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

    def spent(self, first: Places, hours: Places) -> Floats:
        """The spend of so many hours from each first hour on, as far as it is known."""
        spent: Floats = self._sums[np.minimum(first + hours, self.length)] - self._sums[first]
        return spent

    @property
    def rounding(self) -> float:
        """What the difference of two sums may be of hours in which nothing was spent."""
        return float(self._sums[-1]) * _ROUNDING

    @cached_property
    def paces(self) -> tuple[Floats, Mask]:
        """The spend of an hour at each hour from the second day on, and which are idle; the pace of those is 1."""
        last_hours = self.windows(PACE_HOURS)[HOURS_A_DAY - PACE_HOURS :]
        idle = last_hours <= self.rounding
        pace = (last_hours / PACE_HOURS + self.windows(HOURS_A_DAY) / HOURS_A_DAY) / 2
        return np.where(idle, 1.0, pace), idle


@dataclass(frozen=True)
class Origins:
    """Hours from which forecasts are made, each from what was known by then; the rows of all that is found for them.

    Args:
        history: what is known today.
        at: how much of it was known, in hours.
        horizons: how many hours ahead each looks; it needs those and a day before it.
    """

    history: SpendHistory
    at: Places
    horizons: Places

    @cached_property
    def days_back(self) -> Places:
        """Where the same hour of the clock was on the days before (columns), the nearest first; below 0: nowhere."""
        length = self.history.length
        lags = np.array([0, *(self.history.lags or range(HOURS_A_DAY, length + 1, HOURS_A_DAY))])
        ages = np.concatenate((lags, np.full(len(lags), 2 * length + HOURS_A_DAY)))
        first = np.searchsorted(lags, length - self.at, side="right")[:, None] - 1
        days = first + np.arange(1, len(lags))
        places: Places = self.at[:, None] - (ages[days] - ages[first])
        return places

    @cached_property
    def like_days(self) -> list[Mask]:
        """Which of the days before are like this one, the least like first: all, working days or weekends, this weekday."""
        known = self.days_back >= 0
        many = known.sum(axis=1, keepdims=True) >= _DAYS_FOR_WEEKDAYS
        midnights = -((self.history.hour - (self.history.length - self.at)) // HOURS_A_DAY)
        today = ((self.history.weekday - midnights) % 7)[:, None]
        weekdays = (today - np.arange(1, known.shape[1] + 1)) % 7
        return [known, many & ((weekdays >= _SATURDAY) == (today >= _SATURDAY)), many & (weekdays == today)]

    @cached_property
    def busyness(self) -> Floats:
        """How busy the last hours were, of what they are at this time of other days; damped."""
        spent = self.history.windows(PACE_HOURS)
        starts = self.days_back - PACE_HOURS
        known = starts >= 0
        usual = _quantiles(spent[np.where(known, starts, 0)], known, _MEDIAN)[:, 0]
        ones = np.ones(len(usual))
        share = np.divide(spent[self.at - PACE_HOURS], usual, out=ones, where=usual > 0)
        return np.clip(np.sqrt(share), _CALMEST, _BUSIEST)


def by_pace(origins: Origins, levels: Floats) -> Floats:
    """Return quantiles (columns) of the spend of the hours that each origin looks ahead, from the pace.

    That is the mean of the paces of six hours and of a day; hours before which six were idle are compared with such only.
    """
    history, horizons = origins.history, origins.horizons[:, None]
    paces, idle = history.paces
    earlier, now = np.arange(HOURS_A_DAY, history.length), origins.at[:, None]
    alike = (idle[:-1] == idle[now - HOURS_A_DAY]) & (earlier + horizons <= now)
    found = _quantiles(history.spent(earlier, horizons) / paces[:-1], alike, levels)
    without_like = np.where(idle[now - HOURS_A_DAY], 0.0, horizons)
    return paces[now - HOURS_A_DAY] * np.where(np.isnan(found), without_like, found)


def by_profile(origins: Origins, levels: Floats) -> Floats:
    """Return such quantiles from the same hours of earlier days, an hour more or less; NaN where there are none."""
    starts = (origins.days_back[:, :, None] + _SHIFTS).reshape(len(origins.at), -1)
    kept = np.repeat(_chosen_days(origins), len(_SHIFTS), axis=1) & (starts >= 0)
    spent = origins.history.spent(np.where(kept, starts, 0), origins.horizons[:, None])
    return origins.busyness[:, None] * _quantiles(spent, kept, levels)


def _chosen_days(origins: Origins) -> Mask:
    """The most like days of which there are enough whose hours are all over."""
    over = origins.days_back + origins.horizons[:, None] < origins.at[:, None]
    chosen, *better = (days & over for days in origins.like_days)
    for days in better:
        enough = days.sum(axis=1, keepdims=True) >= _FEWEST_LIKE_DAYS
        chosen = np.where(enough, days, chosen)
    return chosen


def _quantiles(values: Floats, kept: Mask, levels: Floats) -> Floats:
    """For each row the quantiles of the values that are kept, as ``numpy.quantile`` (linear); NaN where there are none."""
    ascending = np.where(kept, values, np.inf)
    ascending.sort(axis=1)
    count = kept.sum(axis=1, keepdims=True)
    ascending[count[:, 0] == 0] = np.nan
    last = np.maximum(0, count - 1)
    at = last * levels
    below = at.astype(np.int64)
    rows = np.arange(len(kept))[:, None]
    low, high = ascending[rows, below], ascending[rows, np.minimum(below + 1, last)]
    found: Floats = low + (high - low) * (at - below)
    return found
