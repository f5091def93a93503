"""Forecasts of projects: when a cap is reached, what a month will have cost, and how good both have been."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, bindparam, func, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.caps.month_end import Range, rest_of_month
from lib.caps.reading import CapsView, Outlook
from lib.caps.spend_model import HOURS_A_DAY, Floats, History
from lib.caps.time_to_cap import AHEAD_HOURS, TimeToCap, spend_paths, time_to_cap
from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, MINUTE, Micros, from_micros, to_micros
from lib.db import Database
from lib.db.tables import usage_hourly_totals
from lib.usage.periods import day_of

DAYS_BACK = 56
"""How far back a forecast looks: eight weeks."""

_IDLE_HOURS = HOURS_A_DAY
_hour, _cost = usage_hourly_totals.c.hour_at, usage_hourly_totals.c.cost_nano
_HOURS = (
    select(usage_hourly_totals.c.project_id, _hour, func.sum(_cost).label("nano"))
    .where(
        usage_hourly_totals.c.project_id.in_(bindparam("projects", expanding=True)),
        usage_hourly_totals.c.source.in_(bindparam("sources", expanding=True)),
        _hour >= bindparam("since"),
    )
    .group_by(usage_hourly_totals.c.project_id, _hour)
)

Why = Literal["too little history", "idle"]


@dataclass(frozen=True)
class HourlySpend:
    """What one project spent hour by hour up to ``until``, the beginning of the hour that is under way; nano-USD."""

    until: Micros
    hours: Floats
    under_way: float
    """Spent since ``until``."""

    @property
    def is_idle(self) -> bool:
        """Nothing was spent for a day."""
        return not (self.under_way or self.hours[-_IDLE_HOURS:].any())

    def history(self, zone: ZoneInfo) -> History:
        """For the models, whose days are those of the zone."""
        first = from_micros(self.until).astimezone(zone)
        return History(self.hours, first.weekday(), day_lags(first, len(self.hours)))


@dataclass(frozen=True)
class CapForecast:
    """When a window of a project is full, if it goes on as before; instants in microseconds.

    ``why_none`` says why there is no forecast; then all else is empty.
    """

    at: Micros
    window: str
    verdict: Literal["will", "may"] | None = None
    earliest: Micros | None = None
    median: Micros | None = None
    latest: Micros | None = None
    chance_soon: float = 0.0
    why_none: Why | None = None


@dataclass(frozen=True)
class MonthForecast:
    """What a calendar month will have cost at its end, nano-USD; ``expected`` is None without enough history."""

    month: date
    last_day: date
    so_far_nano: int
    expected: Range | None


def day_lags(moment: datetime, most: int) -> tuple[int, ...]:
    """Return how many hours ago the clock showed the same, one, two, … days ago, up to ``most`` hours.

    They are multiples of 24 but for changes of the clocks. An hour that was skipped is taken as the one after.
    """
    lags, now = [], to_micros(moment)
    for days in range(1, most // HOURS_A_DAY + 2):
        earlier = datetime.combine(moment.date() - timedelta(days=days), moment.time(), moment.tzinfo)
        lag = (now - to_micros(earlier)) // HOUR
        if lag > most:
            break
        lags.append(lag)
    return tuple(lags)


class Forecasts:
    """Makes forecasts; each function checks that the actor may see the projects' spend.

    Args:
        database: where the roll-ups are.
        caps: what is free, and what rolls off when.
        zone: whose days and months count.
    """

    def __init__(self, database: Database, caps: CapsView, zone: ZoneInfo) -> None:
        self._database, self._caps, self._zone = database, caps, zone

    def cap(self, slug: str, window: str, *, actor: Actor) -> CapForecast:
        """Forecast when ``window`` (5h or 7d) of a project is full.

        Raises:
            ProjectUnknown: no such project, or the actor may not know of it.
        """
        return self.caps([slug], {slug: window}, actor=actor)[slug]

    def caps(
        self, slugs: Sequence[str], windows: Mapping[str, str], *, actor: Actor
    ) -> dict[str, CapForecast]:
        """Forecast a window of each of several projects, by slug."""
        now, spent = self._hourly(slugs, ("platform",), actor)
        return {slug: self._of_cap(slug, windows[slug], spent[slug], now, actor) for slug in slugs}

    def month(self, slugs: Sequence[str], sources: Sequence[str], *, actor: Actor) -> MonthForecast:
        """Forecast what this month will have cost these projects together, on these ledgers (platform, byok)."""
        now, spent = self._hourly(slugs, sources, actor)
        today = day_of(now, self._zone)
        first = today.replace(day=1)
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        days = _by_day(spent.values(), today, self._zone)
        so_far = sum(nano for each, nano in days.items() if first <= each <= today)
        past = [days.get(each, 0.0) for each in _days_before(days, today)]
        rest = rest_of_month(np.array(past), days.get(today, 0.0), (last - today).days)
        expected = None if rest is None else Range(*(so_far + each for each in rest))
        return MonthForecast(first, last, int(so_far), expected)

    def hourly(self, slugs: Sequence[str], sources: Sequence[str], *, actor: Actor) -> dict[str, HourlySpend]:
        """What each project spent hour by hour, for a back-test."""
        return self._hourly(slugs, sources, actor)[1]

    def _of_cap(self, slug: str, window: str, spent: HourlySpend, now: Micros, actor: Actor) -> CapForecast:
        if spent.is_idle:
            return CapForecast(now, window, why_none="idle")
        paths = spend_paths(spent.history(self._zone))
        if paths is None:
            return CapForecast(now, window, why_none="too little history")
        waits = [0, *(spent.until + hours * HOUR - now for hours in AHEAD_HOURS)]
        free, *room = (_free(each, window) for each in self._caps.forecast(slug, waits, actor=actor))
        ahead = np.maximum(0.0, paths - spent.under_way)
        return _when(now, spent.until, window, time_to_cap(ahead, free, room, WINDOWS[window] // HOUR))

    def _hourly(
        self, slugs: Sequence[str], sources: Sequence[str], actor: Actor
    ) -> tuple[Micros, dict[str, HourlySpend]]:
        with self._database.read() as connection:
            now = self._database.now(connection)
            ids = visible_ids(connection, actor, slugs) if slugs else []
            found = hourly_spend(connection, ids, sources, now - DAYS_BACK * DAY, now)
        return now, {slug: found[project_id] for slug, project_id in zip(slugs, ids, strict=True)}


def hourly_spend(
    connection: Connection, ids: Sequence[str], sources: Sequence[str], since: Micros, now: Micros
) -> dict[str, HourlySpend]:
    """Read what each project spent hour by hour on these ledgers, by project id."""
    wanted = {"projects": ids, "sources": list(sources), "since": since}
    found: dict[str, dict[Micros, float]] = {project_id: {} for project_id in ids}
    for row in connection.execute(_HOURS, wanted):
        found[row.project_id][row.hour_at] = float(row.nano)
    return {project_id: _dense(hours, now - now % HOUR) for project_id, hours in found.items()}


def _dense(nano: Mapping[Micros, float], until: Micros) -> HourlySpend:
    """Every hour from the first that has usage; those without have 0."""
    first = min((at for at in nano if at < until), default=until)
    hours = np.array([nano.get(at, 0.0) for at in range(first, until, HOUR)], dtype=np.float64)
    return HourlySpend(until, hours, nano.get(until, 0.0))


def _free(outlook: Outlook, window: str) -> float:
    return float(outlook.free_nano[window])


def _when(now: Micros, since: Micros, window: str, found: TimeToCap) -> CapForecast:
    def instant(hours: float | None) -> Micros | None:
        return None if hours is None else max(now, since + round(60 * hours) * MINUTE)

    return CapForecast(
        at=now,
        window=window,
        verdict=found.verdict,
        earliest=instant(found.earliest),
        median=instant(found.median),
        latest=instant(found.latest),
        chance_soon=found.chance_soon,
    )


def _by_day(spent: Iterable[HourlySpend], today: date, zone: ZoneInfo) -> dict[date, float]:
    """What all of them spent on each day of the zone, up to now."""
    days: dict[date, float] = defaultdict(float)
    for each in spent:
        first = each.until - len(each.hours) * HOUR
        for number, nano in enumerate(each.hours):
            days[day_of(first + number * HOUR, zone)] += float(nano)
        days[today] += each.under_way
    return days


def _days_before(days: Mapping[date, float], today: date) -> list[date]:
    """Every day from the first that has usage to yesterday."""
    first = min((day for day, nano in days.items() if nano), default=today)
    return [first + timedelta(days=number) for number in range((today - first).days)]
