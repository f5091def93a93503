"""The daily summary, a day at a time: what is held in memory does not grow with the period."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.clock import DAY, Micros
from lib.db import Database
from lib.db.rollup_tables import TOKENS
from lib.db.tables import usage_daily
from lib.exchange.columns import DAILY_HEADER, inert
from lib.exchange.csv_writer import Writable, write_csv
from lib.pricing.prices import plain_usd
from lib.reports.models import DailyRow, Totals, UsageFilter
from lib.reports.queries import added_up, part, sums_of
from lib.reports.segments import Segment, plan, plan_days
from lib.usage.periods import day_of, days_between, midnight, zone_named
from lib.usage.rollups import zone_of

_KEYS = ("project_id", "source", "provider", "model")


class DaysAsCsv:
    """The daily summary as CSV."""

    def __init__(self, out: Writable, *, raw: bool) -> None:
        self._out, self._raw = out, raw
        write_csv(out, [DAILY_HEADER])

    def write(self, rows: Sequence[DailyRow]) -> None:
        """Write some rows."""
        write_csv(self._out, (_cells(row, raw=self._raw) for row in rows))


def _cells(row: DailyRow, *, raw: bool) -> list[object]:
    sums = row.totals
    names = [row.project, row.source, row.provider, row.model]
    counts = [getattr(sums, name) for name in ("calls", *TOKENS)]
    cost = plain_usd(sums.total_nano if sums.calls > sums.unpriced_calls else None)
    return [row.day.isoformat(), *(names if raw else map(inert, names)), *counts, cost, sums.unpriced_calls]


def single_days(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[list[DailyRow]]:
    """All rows by date, project, source, provider and model, those of a day at a time."""
    zone, rollup_zone = zone_named(wanted.zone), zone_of(connection)
    for since, until in _spans(connection, wanted, ids, zone):
        if zone.key == rollup_zone.key:
            segments = plan(since, until, rollup_zone)
        else:
            segments = plan_days(since, until, zone)
        parts = [part(segment, wanted, ids, _KEYS) for segment in segments]
        found = [
            DailyRow(
                day_of(since, zone), row.slug, row.source, row.provider, row.model, Totals(**sums_of(row))
            )
            for row in connection.execute(added_up(parts, _KEYS))
        ]
        yield sorted(found, key=lambda row: (row.project, row.source, row.provider, row.model))


def about_rows(database: Database, wanted: UsageFilter, actor: Actor) -> int:
    """How many rows the summary will have, without making it: exact where its days are those of the roll-up."""
    with database.read() as connection:
        ids = visible_ids(connection, actor, wanted.projects, sample=wanted.sample)
        segment = Segment("day", None if wanted.since is None else wanted.since - DAY + 1, wanted.until)
        days = part(segment, wanted, ids, (*_KEYS, "at")).subquery()
        return int(connection.execute(select(func.count()).select_from(days)).scalar_one())


def _spans(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], zone: ZoneInfo
) -> Iterator[tuple[Micros, Micros]]:
    """The days of the period, or of what of it has usage."""
    day = usage_daily.c.day_at
    span = select(func.min(day), func.max(day)).where(usage_daily.c.project_id.in_(ids))
    first, last = connection.execute(span).one()
    if first is None:
        return
    since = first if wanted.since is None else max(first, wanted.since)
    until = last + 2 * DAY if wanted.until is None else min(last + 2 * DAY, wanted.until)
    if since < until:
        midnights = [midnight(each, zone) for each in days_between(since, until, zone)]
        yield from pairwise([since, *midnights[1:], until])
