"""Forecasts of projects: when a cap is reached, what a month will have cost, and how good both have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import bindparam, func, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.caps.forecast.forecast_scores import TrackRecord, keep_forecasts, track_record
from lib.caps.forecast.hourly import DAYS_BACK, HourlySpend, hourly_spend
from lib.caps.forecast.month_end import Range, rest_of_month
from lib.caps.forecast.time_to_cap import AHEAD_HOURS, TimeToCap, new_spend_range, spend_paths, time_to_cap
from lib.caps.reading import CapsView, Outlook
from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.db import Database
from lib.db.tables import usage_daily_totals
from lib.usage.periods import day_of

_MONTH_DAYS_BACK = 60
_DAYS = (
    select(usage_daily_totals.c.day_at, func.sum(usage_daily_totals.c.cost_nano).label("nano"))
    .where(
        usage_daily_totals.c.project_id.in_(bindparam("projects", expanding=True)),
        usage_daily_totals.c.source.in_(bindparam("sources", expanding=True)),
        usage_daily_totals.c.day_at >= bindparam("since"),
    )
    .group_by(usage_daily_totals.c.day_at)
)

Why = Literal["too little history", "idle"]


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
class HeldForecast:
    """What a window will hold at ``at``, nano-USD: in four of five cases between low and high; at most its cap."""

    at: Micros
    low_nano: int
    middle_nano: int
    high_nano: int


@dataclass(frozen=True)
class MonthForecast:
    """What a calendar month will have cost at its end, nano-USD; ``expected`` is None without enough history."""

    month: date
    last_day: date
    so_far_nano: int
    expected: Range | None


class Forecasts:
    """Makes forecasts; each function checks that the actor may see the projects' spend.

    Args:
        database: where the roll-ups are.
        caps: what is free, and what rolls off when.
        zone: the reporting zone, whose days and months count.
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

    def held(self, slug: str, window: str, *, actor: Actor) -> list[HeldForecast]:
        """Forecast what ``window`` (5h or 7d) of a project will hold over 48 hours, from now; empty without history.

        Raises:
            ProjectUnknown: no such project, or the actor may not know of it.
        """
        now, found = self._hourly([slug], ("platform",), actor)
        spent = found[slug]
        paths = None if spent.is_idle else spend_paths(spent.history(self._zone))
        if paths is None:
            return []
        waits = [0, *(spent.until + hours * HOUR - now for hours in AHEAD_HOURS)]
        outlooks = self._caps.forecast(slug, waits, actor=actor)
        new = new_spend_range(np.maximum(0.0, paths - spent.under_way), WINDOWS[window] // HOUR)
        columns = np.hstack((np.zeros((3, 1)), new)).T
        return [
            HeldForecast(each.at, *(_at_most_cap(each, window, nano) for nano in column))
            for each, column in zip(outlooks, columns, strict=True)
        ]

    def month(self, slugs: Sequence[str], sources: Sequence[str], *, actor: Actor) -> MonthForecast:
        """Forecast what this month will have cost these projects together, on these ledgers (platform, byok)."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            ids = visible_ids(connection, actor, slugs) if slugs else []
            wanted = {"projects": ids, "sources": list(sources), "since": now - _MONTH_DAYS_BACK * DAY}
            rows = connection.execute(_DAYS, wanted).all()
        today = day_of(now, self._zone)
        days = {day_of(row.day_at, self._zone): int(row.nano) for row in rows}
        return _month(days, today)

    def keep(self) -> int:
        """Keep a forecast of the coming hours for every project, and score what is over; how many were made."""
        return keep_forecasts(self._database, self._zone)

    def track_record(
        self, slugs: Sequence[str], hours_ahead: int, *, actor: Actor, days: int = 30
    ) -> TrackRecord:
        """Return how good the forecasts of these projects have been in the last ``days``."""
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, slugs) if slugs else []
            since = self._database.now(connection) - days * DAY
            return track_record(connection, ids, hours_ahead, since)

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
        named = dict.fromkeys(slugs)
        return now, {slug: found[project_id] for slug, project_id in zip(named, ids, strict=True)}


def _at_most_cap(outlook: Outlook, window: str, new_nano: float) -> int:
    """What is spent anew is never more than what is free."""
    return outlook.taken_nano[window] + min(round(new_nano), outlook.free_nano[window])


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


def _month(days: Mapping[date, int], today: date) -> MonthForecast:
    """From what was spent on each day that has usage."""
    first = today.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    so_far = sum(nano for day, nano in days.items() if first <= day <= today)
    begin = min((day for day, nano in days.items() if nano), default=today)
    past = [days.get(begin + timedelta(days=number), 0) for number in range((today - begin).days)]
    rest = rest_of_month(np.array(past, dtype=np.float64), days.get(today, 0), (last - today).days)
    expected = None if rest is None else Range(*(so_far + each for each in rest))
    return MonthForecast(first, last, so_far, expected)
