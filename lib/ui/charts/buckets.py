"""A period cut into the bars of a chart: hours, days, weeks or months of the zone, by its length."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from lib import formatting
from lib.access.roles import Actor
from lib.clock import HOUR, Micros, from_micros
from lib.reports.models import DayRow, HourRow, Totals, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door

WEEKS_FROM, MONTHS_FROM = 184, 732
"""Days of a period from which on a bar is a week, and a month."""


@dataclass
class Bucket(Totals):
    """The sums of one bar. ``key`` tells it from all others, ``words`` say when it was."""

    key: str = field(default="", kw_only=True)
    label: str = field(default="", kw_only=True)
    words: str = field(default="", kw_only=True)
    first: date = field(default=date.min, kw_only=True)
    last: date = field(default=date.min, kw_only=True)


@dataclass(frozen=True)
class TimeSeries:
    """The bars of a chart, in order. ``unit``: hour, day, week or month; ``current``: the one not over yet."""

    unit: str
    zone: str
    rows: list[Bucket]
    current: str = ""

    def folded(self, moments: Mapping[Micros, int]) -> list[int]:
        """Amounts by instant, summed up by bar; what lies in none of the bars is left out."""
        zone, sums = ZoneInfo(self.zone), [0] * len(self.rows)
        hourly = self.unit == "hour"
        starts = [datetime.fromisoformat(bar.key) if hourly else bar.first for bar in self.rows]
        for at, amount in moments.items():
            local = from_micros(at).astimezone(zone)
            place = bisect_right(starts, local if hourly else local.date()) - 1
            if place >= 0:
                sums[place] += amount
        return sums

    def labelled(self, most: int) -> dict[str, str]:
        """About ``most`` of the bars, by key, with the words below them."""
        pick = {"hour": _hours_with_label, "day": _days_with_label}.get(self.unit, _evenly)
        return {bar.key: bar.label for bar in pick(self.rows, most)}


def unit_of(chosen: Chosen) -> str:
    """What one bar of the period is."""
    if chosen.hourly:
        return "hour"
    if chosen.days < WEEKS_FROM:
        return "day"
    return "week" if chosen.days < MONTHS_FROM else "month"


def time_series(wanted: UsageFilter, chosen: Chosen, actor: Actor) -> TimeSeries:
    """The sums of each bar of the period; of hours, those up to now."""
    unit, zone, reports = unit_of(chosen), chosen.zone, front_door().reports
    if unit == "hour":
        # Up to the end of this hour: a period that ends with each look would never be found in the cache.
        end = chosen.now - chosen.now % HOUR + HOUR
        so_far = replace(wanted, until=min(chosen.period.until, end))
        return hours(loaders.cached(reports.by_hour, so_far, actor=actor), zone, chosen.now)
    fold = {"day": days, "week": weeks, "month": months}[unit]
    return fold(loaders.cached(reports.by_day, wanted, actor=actor), zone.key, chosen.today)


def hours(rows: Sequence[HourRow], zone: ZoneInfo, now: Micros) -> TimeSeries:
    """A bar for each hour."""
    bars = [_hour(row, zone) for row in rows]
    running = [bar.key for bar, row in zip(bars, rows, strict=True) if 0 <= now - row.at < HOUR]
    return TimeSeries("hour", zone.key, bars, running[-1] if running else "")


def _hour(row: HourRow, zone: ZoneInfo) -> Bucket:
    at = from_micros(row.at).astimezone(zone)
    label = formatting.short_day(at.date()) if at.hour == 0 else f"{at:%H:%M}"
    words = formatting.weekday_time(row.at, zone)
    return Bucket(key=at.isoformat(), label=label, words=words, first=at.date(), last=at.date()).add(row)


def days(rows: Sequence[DayRow], zone: str, today: date) -> TimeSeries:
    """A bar for each day."""
    return _folded("day", rows, zone, today, lambda day: day)


def weeks(rows: Sequence[DayRow], zone: str, today: date) -> TimeSeries:
    """A bar for each week from Monday on; the first and the last may be cut by the period."""
    return _folded("week", rows, zone, today, lambda day: day - timedelta(days=day.weekday()))


def months(rows: Sequence[DayRow], zone: str, today: date) -> TimeSeries:
    """A bar for each month; the first and the last may be cut by the period."""
    return _folded("month", rows, zone, today, lambda day: day.replace(day=1))


def _folded(
    unit: str, rows: Sequence[DayRow], zone: str, today: date, begins: Callable[[date], date]
) -> TimeSeries:
    found: dict[date, Bucket] = {}
    for row in rows:
        start = begins(row.day)
        bar = found.setdefault(start, Bucket(key=start.isoformat(), first=row.day))
        bar.last = row.day
        bar.add(row)
    for bar in found.values():
        bar.label = _LABELS[unit](bar.first)
        bar.words = _span(bar.first, bar.last)
    return TimeSeries(unit, zone, list(found.values()), begins(today).isoformat())


_LABELS: dict[str, Callable[[date], str]] = {
    "day": formatting.short_day,
    "week": lambda day: f"{day.day} {day:%b}",
    "month": lambda day: f"{day:%b %Y}",
}


def _span(first: date, last: date) -> str:
    """``Mon 16 Nov to Sun 22 Nov 2026``."""
    if first == last:
        return f"{formatting.short_day(last)} {last.year}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{formatting.short_day(first)}{year} to {formatting.short_day(last)} {last.year}"


_HOURS_OF_A_DAY = 26


def _hours_with_label(rows: Sequence[Bucket], most: int) -> list[Bucket]:  # noqa: ARG001 - as all of them
    """Every third hour of a day, noon and midnight of several."""
    every = 3 if len(rows) <= _HOURS_OF_A_DAY else 12
    return [bar for bar in rows if int(bar.key[11:13]) % every == 0]


def _days_with_label(rows: Sequence[Bucket], most: int) -> Sequence[Bucket]:
    """All of few; every second or third of some, the last among them; else Mondays; else firsts of months."""
    if len(rows) <= 3 * most:
        return _evenly(rows, most)
    mondays = [bar for bar in rows if bar.first.weekday() == 0]
    if len(mondays) <= 2 * most:
        return mondays
    return _evenly([bar for bar in rows if bar.first.day == 1], 2 * most)


def _evenly(rows: Sequence[Bucket], most: int) -> Sequence[Bucket]:
    """All of few, else as many at even distances, the last among them."""
    if len(rows) <= most + 1:
        return rows
    every = -(-len(rows) // most)
    return rows[(len(rows) - 1) % every :: every]
