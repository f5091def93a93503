"""How good the forecasts would have been: made again at hours of the past, from what was known by then. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lib.caps.forecast.spend_forecast import LEVELS, pinball, quantiles
from lib.caps.forecast.spend_model import HOURS_A_DAY, PACE_HOURS, Floats, SpendHistory
from lib.caps.forecast.time_to_cap import AHEAD_HOURS, SOON_HOURS, SURE, spend_paths, time_to_cap

INTERVALS = {50: (2, 4), 80: (1, 5), 90: (0, 6)}
"""Percent of the outcomes that an interval is to hold, and which of ``LEVELS`` are its ends."""

WARM_UP_HOURS = 5 * HOURS_A_DAY
_EVERY_HOURS = 5
_HOURS_A_WEEK = 7 * HOURS_A_DAY


@dataclass(frozen=True)
class Score:
    """Forecasts of one horizon against what happened.

    ``to_pace`` and ``to_yesterday`` are ratios of the mean pinball loss: below 1 is better than going on at the
    pace of the last six hours, or than the same hours of the day before. None where those made no error.
    ``held`` is the percent of outcomes inside each of ``INTERVALS``.
    """

    forecasts: int
    to_pace: float | None
    to_yesterday: float | None
    held: dict[int, float]


@dataclass(frozen=True)
class Alarms:
    """What "will reach its cap within five hours" would have been worth: alarms, how many were false, weeks looked at."""

    given: int
    false: int
    weeks: float

    @property
    def false_a_week(self) -> float:
        """False alarms in a week."""
        return self.false / self.weeks if self.weeks else 0.0


def score(hours: Floats, horizon: int, *, weekday: int = 0, every_hours: int = _EVERY_HOURS) -> Score | None:
    """Score forecasts of the next ``horizon`` hours, made every few hours; None where there are too few hours.

    Args:
        hours: spend of each hour, oldest first.
        horizon: hours ahead.
        weekday: of the first hour's day, Monday 0; the first hour is taken as midnight.
        every_hours: how often; four times as many forecasts halve what chance does to the percents.
    """
    losses, inside = [], dict.fromkeys(INTERVALS, 0)
    for history, ahead in _origins(hours, horizon, weekday, every_hours):
        forecast, outcome = quantiles(history, horizon, LEVELS), float(ahead[:horizon].sum())
        if forecast is None:
            continue
        pace = np.full(len(LEVELS), history.hours[-PACE_HOURS:].mean() * horizon)
        yesterday = np.full(len(LEVELS), _yesterday(history, horizon))
        losses.append(pinball(outcome, np.stack((forecast, pace, yesterday))))
        for percent, (low, high) in INTERVALS.items():
            inside[percent] += bool(forecast[low] <= outcome <= forecast[high])
    if not losses:
        return None
    ours, by_pace, by_yesterday = np.array(losses).sum(axis=0)
    held = {percent: 100 * count / len(losses) for percent, count in inside.items()}
    return Score(len(losses), _ratio(ours, by_pace), _ratio(ours, by_yesterday), held)


def alarms(hours: Floats, cap: float, length_hours: int, *, weekday: int = 0) -> Alarms:
    """Count the alarms that would have been given of a window with this cap, and those that were false."""
    given = false = looked_at = 0
    for history, ahead in _origins(hours, AHEAD_HOURS[-1], weekday):
        looked_at += 1
        if not _is_alarm(history, cap, length_hours):
            continue
        given += 1
        false += not _is_reached(history, ahead[:SOON_HOURS], cap, length_hours)
    return Alarms(given, false, looked_at * _EVERY_HOURS / _HOURS_A_WEEK)


def _is_alarm(history: SpendHistory, cap: float, length: int) -> bool:
    paths = spend_paths(history)
    free, *room = (cap - _still_held(history, hour, length) for hour in (0, *AHEAD_HOURS))
    return paths is not None and free > 0 and time_to_cap(paths, free, room, length).chance_soon >= SURE


def _origins(
    hours: Floats, horizon: int, weekday: int, every_hours: int = _EVERY_HOURS
) -> Iterator[tuple[SpendHistory, Floats]]:
    """What is known at each origin, and what came after it."""
    for origin in range(WARM_UP_HOURS, len(hours) - horizon + 1, every_hours):
        known, day = hours[:origin], weekday + origin // HOURS_A_DAY
        yield SpendHistory(known, day % 7, hour=origin % HOURS_A_DAY), hours[origin:]


def _yesterday(history: SpendHistory, horizon: int) -> float:
    """Spend of the same hours on the day before, or so many days ago that they are all over."""
    days = -(-horizon // HOURS_A_DAY)
    start = history.length - days * HOURS_A_DAY
    return float(history.hours[start : start + horizon].sum())


def _still_held(history: SpendHistory, ahead: int, length: int) -> float:
    """What of the past is still in a window that ends so many hours from now."""
    return float(history.hours[-(length - ahead) :].sum()) if ahead < length else 0.0


def _is_reached(history: SpendHistory, ahead: Sequence[float] | Floats, cap: float, length: int) -> bool:
    held = np.concatenate((history.hours[-length:], ahead))
    return any(held[end - length : end].sum() >= cap for end in range(length + 1, len(held) + 1))


def _ratio(ours: float, theirs: float) -> float | None:
    return float(ours / theirs) if theirs else None
