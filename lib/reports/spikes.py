"""Spikes of spend: the last full day against the days before it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median_low

from lib.pricing.amounts import NANO
from lib.reports.models import SpendTotals

DAYS_BEFORE = 7
FACTOR = 3
FLOOR_NANO = 10 * NANO
"""A spike is at least so many times the median of the days before, and so much more than it."""


@dataclass(frozen=True)
class Spike:
    """What was spent on ``day``, by source, and the median of the days before; nano-USD."""

    day: date
    platform_nano: int
    byok_nano: int
    median_nano: int

    @property
    def total_nano(self) -> int:
        """Both ledgers together."""
        return self.platform_nano + self.byok_nano


def detect_spike(series: Mapping[date, SpendTotals], day: date) -> Spike | None:
    """The spike on ``day``, None where there is none. A project that was quiet on most days before has nothing to compare with."""
    before = [
        series.get(day - timedelta(days=back), SpendTotals()).total_nano for back in range(1, DAYS_BEFORE + 1)
    ]
    usual, sums = median_low(before), series.get(day, SpendTotals())
    if usual == 0 or sums.total_nano < max(FACTOR * usual, usual + FLOOR_NANO):
        return None
    return Spike(day, sums.platform_nano, sums.byok_nano, usual)
