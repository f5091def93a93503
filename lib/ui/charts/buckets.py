"""A period cut into the bars of a chart: hours, days, weeks or months of the zone, by its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from lib.access.roles import Actor
from lib.clock import HOUR, Micros, from_micros
from lib.reports.models import DayRow, HourRow, Totals, UsageFilter
from lib.ui.base import loaders, wording
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door

WEEKS_FROM, MONTHS_FROM = 184, 732
"""Days of a period from which on a bar is a week, and a month."""


@dataclass
class Step(Totals):
    """The sums of one bar. ``key`` tells it from all others, ``words`` say when it was."""

    key: str = field(default="", kw_only=True)
    label: str = field(default="", kw_only=True)
    words: str = field(default="", kw_only=True)
    first: date = field(default=date.min, kw_only=True)
    last: date = field(default=date.min, kw_only=True)


@dataclass(frozen=True)
class Course:
    """The bars of a chart, in order. ``unit``: hour, day, week or month; ``going_on``: the one not over yet."""

    unit: str
    zone: str
    rows: list[Step]
    going_on: str = ""

    def labelled(self, most: int) -> dict[str, str]:
        """About ``most`` of the bars, by key, with the words below them."""
        pick = {"hour": _hours_with_label, "day": _days_with_label}.get(self.unit, _evenly)
        return {step.key: step.label for step in pick(self.rows, most)}


def unit_of(chosen: Chosen) -> str:
    """What one bar of the period is."""
    if chosen.hourly:
        return "hour"
    if chosen.days < WEEKS_FROM:
        return "day"
    return "week" if chosen.days < MONTHS_FROM else "month"


def course(wanted: UsageFilter, chosen: Chosen, actor: Actor) -> Course:
    """The sums of each bar of the period; of hours, those up to now."""
    unit, zone, reports = unit_of(chosen), chosen.zone, front_door().reports
    if unit == "hour":
        # Up to the end of this hour: a period that ends with each look would never be found in the cache.
        end = chosen.now - chosen.now % HOUR + HOUR
        so_far = replace(wanted, until=min(chosen.period.until, end))
        return hours(loaders.cached(reports.by_hour, so_far, actor=actor), zone, chosen.now)
    fold = {"day": days, "week": weeks, "month": months}[unit]
    return fold(loaders.cached(reports.by_day, wanted, actor=actor), zone.key, chosen.today)


def hours(rows: Sequence[HourRow], zone: ZoneInfo, now: Micros) -> Course:
    """A bar for each hour."""
    steps = [_hour(row, zone) for row in rows]
    running = [step.key for step, row in zip(steps, rows, strict=True) if 0 <= now - row.at < HOUR]
    return Course("hour", zone.key, steps, running[-1] if running else "")


def _hour(row: HourRow, zone: ZoneInfo) -> Step:
    at = from_micros(row.at).astimezone(zone)
    label = wording.short_day(at.date()) if at.hour == 0 else f"{at:%H:%M}"
    words = wording.weekday_time(row.at, zone)
    return Step(key=at.isoformat(), label=label, words=words, first=at.date(), last=at.date()).add(row)


def days(rows: Sequence[DayRow], zone: str, today: date) -> Course:
    """A bar for each day."""
    return _folded("day", rows, zone, today, lambda day: day)


def weeks(rows: Sequence[DayRow], zone: str, today: date) -> Course:
    """A bar for each week from Monday on; the first and the last may be cut by the period."""
    return _folded("week", rows, zone, today, lambda day: day - timedelta(days=day.weekday()))


def months(rows: Sequence[DayRow], zone: str, today: date) -> Course:
    """A bar for each month; the first and the last may be cut by the period."""
    return _folded("month", rows, zone, today, lambda day: day.replace(day=1))


def _folded(
    unit: str, rows: Sequence[DayRow], zone: str, today: date, begins: Callable[[date], date]
) -> Course:
    found: dict[date, Step] = {}
    for row in rows:
        start = begins(row.day)
        step = found.setdefault(start, Step(key=start.isoformat(), first=row.day))
        step.last = row.day
        step.add(row)
    for step in found.values():
        step.label = _LABELS[unit](step.first)
        step.words = _span(step.first, step.last)
    return Course(unit, zone, list(found.values()), begins(today).isoformat())


_LABELS: dict[str, Callable[[date], str]] = {
    "day": wording.short_day,
    "week": lambda day: f"{day.day} {day:%b}",
    "month": lambda day: f"{day:%b %Y}",
}


def _span(first: date, last: date) -> str:
    """``Mon 16 Nov to Sun 22 Nov 2026``."""
    if first == last:
        return f"{wording.short_day(last)} {last.year}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{wording.short_day(first)}{year} to {wording.short_day(last)} {last.year}"


_HOURS_OF_A_DAY = 26


def _hours_with_label(rows: Sequence[Step], most: int) -> list[Step]:  # noqa: ARG001 - as all of them
    """Every third hour of a day, noon and midnight of several."""
    every = 3 if len(rows) <= _HOURS_OF_A_DAY else 12
    return [step for step in rows if int(step.key[11:13]) % every == 0]


def _days_with_label(rows: Sequence[Step], most: int) -> Sequence[Step]:
    """All of few; every second or third of some, the last among them; else Mondays; else firsts of months."""
    if len(rows) <= 3 * most:
        return _evenly(rows, most)
    mondays = [step for step in rows if step.first.weekday() == 0]
    if len(mondays) <= 2 * most:
        return mondays
    return _evenly([step for step in rows if step.first.day == 1], 2 * most)


def _evenly(rows: Sequence[Step], most: int) -> Sequence[Step]:
    """All of few, else as many at even distances, the last among them."""
    if len(rows) <= most + 1:
        return rows
    every = -(-len(rows) // most)
    return rows[(len(rows) - 1) % every :: every]
