"""What the coming hours will cost, as quantiles that hold what they promise. Pure.

Two models are weighed by their recent losses, and how wide their mean is spread is corrected by its recent misses
(quantile tracking, after Gibbs and Candès, "Adaptive conformal inference under distribution shift", 2021). Both are
learned from forecasts of the past, each made from what was known by then. ``make bench ARGS=forecasting`` scores it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lib.caps.forecast.spend_model import (
    FEWEST_HOURS,
    HOURS_A_DAY,
    Floats,
    Origins,
    SpendHistory,
    by_pace,
    by_profile,
)

LEVELS: Floats = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
"""The quantiles that forecasts of the past are judged by."""

_LOW, _MIDDLE, _HIGH = 1, 3, 5
_OUTSIDE = 0.2
"""The share of outcomes that is to lie outside of the middle 80 %."""

_LEARNED_FROM, _EVERY_HOURS = 24, 5
_STEP, _FEW_DAYS, _WIDEST = 0.2, 3.0, math.log(3)


class Calibration(NamedTuple):
    """How the two models are put together: the weight of the pace model, and the factor of the distance to the median."""

    weight: float
    spread: float


def pinball(outcome: float | Floats, forecast: Floats, levels: Floats = LEVELS) -> Floats:
    """Return the mean pinball (quantile) loss of each forecast (Koenker and Bassett 1978); 0 is perfect.

    Args:
        outcome: one, or as many as there are forecasts.
        forecast: its quantiles along the last axis.
        levels: of the quantiles.
    """
    error = np.asarray(outcome)[..., None] - forecast
    loss: Floats = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    return loss


def quantiles(history: SpendHistory, horizon: int, levels: Floats) -> Floats | None:
    """Return quantiles of the spend of the next ``horizon`` hours; None where there is too little history.

    Args:
        history: what is known.
        horizon: hours ahead, at least one.
        levels: which quantiles, each from 0 to 1, ascending.
    """
    found = quantiles_of_each(history, (horizon,), levels, learned=(horizon,))
    return None if found is None else found[0]


def quantiles_of_each(
    history: SpendHistory, horizons: Sequence[int], levels: Floats, *, learned: Sequence[int]
) -> Floats | None:
    """Return quantiles (columns) of the spend up to each horizon (rows); None without history for the last one.

    Args:
        history: what is known.
        horizons: hours ahead, ascending.
        levels: which quantiles, each from 0 to 1, ascending.
        learned: the horizons whose past is looked at; what was learned is in between for those in between.
    """
    if history.length < _fewest(horizons[-1]):
        return None
    calibrations = np.array([calibrate(history, hours) for hours in learned])
    weight, spread = (np.interp(np.log(horizons), np.log(learned), each)[:, None] for each in calibrations.T)
    now = Origins(history, np.full(len(horizons), history.length), np.array(horizons))
    pace, profile = _both(now, np.append(levels, 0.5))
    mixed = weight * pace + (1 - weight) * profile
    middle, found = mixed[:, -1:], mixed[:, :-1]
    spent: Floats = np.maximum(0.0, middle + spread * (found - middle))
    return spent


def calibrate(history: SpendHistory, horizon: int) -> Calibration:
    """Learn from forecasts of the last days, one every five hours, whose outcome is known."""
    ages = horizon + _EVERY_HOURS * np.arange(_LEARNED_FROM)[::-1]
    origins = history.length - ages
    origins = origins[origins >= _fewest(horizon)]
    start = min(_WIDEST, _FEW_DAYS * horizon / history.length)
    if not len(origins):
        return Calibration(0.5, math.exp(start))
    outcomes = history.windows(horizon)[origins]
    pace, profile = _both(Origins(history, origins, np.full(len(origins), horizon)), LEVELS)
    weight = _weight(pinball(outcomes, pace), pinball(outcomes, profile))
    mixed = weight * pace + (1 - weight) * profile
    return Calibration(weight, _spread(outcomes, mixed, start, history.rounding))


def _fewest(horizon: int) -> int:
    return max(FEWEST_HOURS, HOURS_A_DAY + horizon)


def _both(origins: Origins, levels: Floats) -> tuple[Floats, Floats]:
    pace, profile = by_pace(origins, levels), by_profile(origins, levels)
    return pace, np.where(np.isnan(profile), pace, profile)


def _weight(pace: Floats, profile: Floats) -> float:
    """Of the pace model: the better a model was, the more weight."""
    both = float(pace.sum() + profile.sum())
    share = float(pace.sum()) / both if both else 0.5
    return (1 - share) ** 2 / (share**2 + (1 - share) ** 2)


def _spread(outcomes: Floats, forecasts: Floats, start: float, rounding: float) -> float:
    """Widen by each outcome outside of the middle 80 %, narrow by each inside, until four of five are inside.

    Args:
        outcomes: what happened, the oldest first.
        forecasts: of each, at ``LEVELS``.
        start: the logarithm to begin with; few days make models too sure of themselves, for long horizons the more so.
        rounding: a difference that is none.
    """
    low, middle, high = forecasts[:, [_LOW, _MIDDLE, _HIGH]].T
    apart = np.where(outcomes > middle, high - middle, middle - low)
    width = start
    for error, reach in zip(abs(outcomes - middle).tolist(), apart.tolist(), strict=True):
        missed = error > math.exp(width) * reach + rounding
        width = max(-_WIDEST, min(_WIDEST, width + _STEP * (missed - _OUTSIDE)))
    return math.exp(width)
