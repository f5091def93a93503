"""Hours of the week: when spend happens. Pure: sums by hour of UTC in, averages by weekday and hour out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from lib.clock import DAY, HOUR, Micros, from_micros
from lib.reports.models import SpendTotals

WEEK: Micros = 7 * DAY
WEEKS = 4
"""So many at most are looked at, the latest of a period: whole weeks where it has one, so that weekdays count alike."""


@dataclass
class HourOfWeek:
    """All the hours that begin at ``clock`` of one weekday (0 is Monday), added up; nano-USD by source."""

    weekday: int
    clock: str
    hours: int = 0
    platform_nano: int = 0
    byok_nano: int = 0

    @property
    def average_nano(self) -> int:
        """Spend of an average hour, both ledgers together, rounded down."""
        return (self.platform_nano + self.byok_nano) // self.hours if self.hours else 0


def latest_weeks(since: Micros, until: Micros, now: Micros) -> tuple[Micros, Micros] | None:
    """The latest whole weeks of a period, else all its hours; only hours that are over, None where none is."""
    end = min(until, now)
    end -= end % HOUR
    weeks = min(WEEKS, (end - since) // WEEK)
    first = end - weeks * WEEK if weeks > 0 else since + -since % HOUR
    return (first, end) if first < end else None


def week(
    spent: Mapping[Micros, SpendTotals], since: Micros, until: Micros, zone: ZoneInfo
) -> list[HourOfWeek]:
    """Every hour of the week as the zone's clocks show it, Monday's first; ``spent`` is by hour of UTC.

    Where a zone is half an hour apart from UTC, its hours of the week begin at half past. Where its clocks moved by
    half an hour (Lord Howe), those of the one time and those of the other are hours apart.
    """
    found: dict[tuple[int, str], HourOfWeek] = {}
    for at in range(since, until, HOUR):
        local = from_micros(at).astimezone(zone)
        key = local.weekday(), f"{local:%H:%M}"
        cell = found.setdefault(key, HourOfWeek(*key))
        cell.hours += 1
        if spend := spent.get(at):
            cell.platform_nano += spend.platform_nano
            cell.byok_nano += spend.byok_nano
    return [found[key] for key in sorted(found)]
