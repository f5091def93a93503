"""What a change is measured against: like with like. Pure: now is an argument.

A period under way is compared with the same stretch of the one before, up to the same time of day: counted up to
now, it would always look small beside a whole one. Months are compared with months, from the first on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from lib.clock import MINUTE, Micros, from_micros, to_micros
from lib.usage.periods import Period, day_of, midnight

MONTHS = frozenset({"month", "last_month"})
"""Presets that are compared with the month before them."""


def compared_with(name: str, period: Period, now: Micros) -> Period:
    """The stretch that ``period`` is compared with.

    Args:
        name: the period's preset; months differ from any other number of days.
        period: what is looked at.
        now: a period that holds it is under way, and so is what it is compared with, to the minute.
    """
    before = _month_before(period) if name in MONTHS else _before(period)
    if not period.since <= now < period.until:
        return before
    day = before.first_day + (day_of(now, period.zone) - period.first_day)
    until = _same_time(day, now - now % MINUTE, period.zone)  # what ends with each look is found in no cache
    # The 31st has no like in a month of 30 days: then it is the whole month.
    return replace(before, until=max(before.since, min(until, before.until)))


def _month_before(period: Period) -> Period:
    first = period.first_day.replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    return Period(midnight(before, period.zone), midnight(first, period.zone), period.zone)


def _before(period: Period) -> Period:
    """The period before: as many whole days as this one has; of the last 24 hours, the 24 before them."""
    first, last, zone = period.first_day, period.last_day, period.zone
    if (midnight(first, zone), midnight(last + timedelta(days=1), zone)) != (period.since, period.until):
        return Period(2 * period.since - period.until, period.since, zone)
    days = (last - first).days + 1
    return Period(midnight(first - timedelta(days=days), zone), period.since, zone)


def _same_time(day: date, now: Micros, zone: ZoneInfo) -> Micros:
    """When the zone's clocks showed that day what they show now; where they jumped over it, as long after the jump."""
    return to_micros(datetime.combine(day, from_micros(now).astimezone(zone).time(), zone))
