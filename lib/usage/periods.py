"""Periods in a time zone, as half-open instants. Pure: now and the zone are arguments.

A day is a day of the zone: 23 or 25 hours long where the clocks change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from lib.clock import HOUR, Micros, from_micros, to_micros
from lib.errors import BadInput

PRESETS = {
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "month": "Month to date",
    "last_month": "Last month",
    "custom": "Custom",
}
FIRST_DAY, LAST_DAY = date(1970, 1, 2), date(2199, 12, 31)
"""Days that may be asked for: usage is never earlier, and no calendar ends while one reckons with them."""

_QUARTER: Micros = HOUR // 4
_DAYS = {"7d": 7, "30d": 30, "90d": 90}


@dataclass(frozen=True)
class Period:
    """From ``since`` (inclusive) to ``until`` (exclusive), microseconds, and the zone its days belong to."""

    since: Micros
    until: Micros
    zone: ZoneInfo

    @property
    def first_day(self) -> date:
        """The day, in the zone, that holds the first instant."""
        return day_of(self.since, self.zone)

    @property
    def last_day(self) -> date:
        """The day, in the zone, that holds the last instant."""
        return day_of(max(self.since, self.until - 1), self.zone)


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name. Raises BadInput."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise BadInput("That is no time zone. Write it like Europe/Berlin or UTC.") from None


def midnight(day: date, zone: ZoneInfo) -> Micros:
    """The first instant of a day in a zone (where midnight is skipped by the clocks, the next one)."""
    return to_micros(datetime.combine(day, time(), zone))


def day_of(moment: Micros, zone: ZoneInfo) -> date:
    """The day of an instant in a zone."""
    return from_micros(moment).astimezone(zone).date()


def days_between(since: Micros, until: Micros, zone: ZoneInfo) -> Iterator[date]:
    """Every day of the zone that shares an instant with the half-open period.

    Samoa had no 30 December 2011: of such a day there is no instant, so it is left out.
    """
    day, last = day_of(since, zone), day_of(max(since, until - 1), zone)
    while day <= last:
        if day_of(midnight(day, zone), zone) == day:
            yield day
        day += timedelta(days=1)


def hours_between(since: Micros, until: Micros, zone: ZoneInfo) -> list[Micros]:
    """The beginning of every hour of the zone's clocks that shares an instant with the half-open period.

    In Kolkata hours begin at half past one of UTC. Where the clocks jump within an hour, a new one begins.
    """
    if since >= until:
        return []
    at = since - since % _QUARTER
    while not _begins_hour(at, zone):
        at -= _QUARTER
    return [moment for moment in range(at, until, _QUARTER) if _begins_hour(moment, zone)]


def _begins_hour(moment: Micros, zone: ZoneInfo) -> bool:
    now, before = (from_micros(at).astimezone(zone) for at in (moment, moment - _QUARTER))
    return (now.hour, now.utcoffset()) != (before.hour, before.utcoffset())


def preset(name: str, zone: ZoneInfo, now: Micros) -> Period:
    """The period of a preset, today included. Raises BadInput for an unknown name."""
    today = day_of(now, zone)
    tomorrow = midnight(today + timedelta(days=1), zone)
    if name == "24h":
        return Period(now - 24 * HOUR, now, zone)
    if name in _DAYS:
        return Period(midnight(today - timedelta(days=_DAYS[name] - 1), zone), tomorrow, zone)
    first = today.replace(day=1)
    if name == "month":
        return Period(midnight(first, zone), tomorrow, zone)
    if name == "last_month":
        before = (first - timedelta(days=1)).replace(day=1)
        return Period(midnight(before, zone), midnight(first, zone), zone)
    raise BadInput("There is no period of that name.")


def is_day(day: date) -> bool:
    """Whether it may be asked for."""
    return FIRST_DAY <= day <= LAST_DAY


def custom(first: date, last: date, zone: ZoneInfo) -> Period:
    """Whole days from ``first`` to ``last``, both included. Raises BadInput where they are reversed, or no days."""
    if not (is_day(first) and is_day(last)):
        raise BadInput(f"A period has days from {FIRST_DAY} to {LAST_DAY}.")
    if last < first:
        raise BadInput("The period ends before it begins. Choose the earlier day first.")
    return Period(midnight(first, zone), midnight(last + timedelta(days=1), zone), zone)
