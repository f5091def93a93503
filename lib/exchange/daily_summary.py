"""The daily summary, a day at a time: what is held in memory does not grow with the period."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, func, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.clock import DAY, Micros
from lib.db import AnyRow, Database
from lib.db.rollup_tables import TOKENS
from lib.db.tables import usage_daily_totals
from lib.exchange.columns import DAILY_HEADER, escape_formula, label_columns
from lib.exchange.csv_writer import Writable, write_csv
from lib.pricing.amounts import plain_usd
from lib.reports.labels import LabelHistory, spans
from lib.reports.models import DailyRow, Totals, UsageFilter
from lib.reports.queries import aggregate_segment, combine, sums_of
from lib.reports.segments import Grain, Segment
from lib.reports.spend import segments_of
from lib.usage.archived import archived_until
from lib.usage.periods import day_of, days_between, midnight, zone_named
from lib.usage.rollups import zone_of

_KEYS = ("project_id", "source", "provider", "model")


class DaysAsCsv:
    """The daily summary as CSV."""

    def __init__(self, out: Writable, *, raw: bool, labels: Sequence[str] = ()) -> None:
        self._out, self._raw = out, raw
        write_csv(out, [[*DAILY_HEADER, *(column.name for column in label_columns(labels))]])

    def write(self, rows: Sequence[DailyRow]) -> None:
        """Write some rows."""
        write_csv(self._out, (_cells(row, raw=self._raw) for row in rows))


def _cells(row: DailyRow, *, raw: bool) -> list[object]:
    sums = row.totals
    names = [row.project, row.source, row.provider, row.model]
    counts = [getattr(sums, name) for name in ("calls", *TOKENS)]
    cost = plain_usd(sums.total_nano if sums.calls > sums.unpriced_calls else None)
    return [
        row.day.isoformat(),
        *(names if raw else map(escape_formula, names)),
        *counts,
        cost,
        sums.unpriced_calls,
        *(row.labels if raw else map(escape_formula, row.labels)),
    ]


def single_days(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], labels: Sequence[str] = ()
) -> Iterator[list[DailyRow]]:
    """All rows by date, project, source, provider, model and the values of ``labels``, those of a day at a time."""
    zone, rollup_zone = zone_named(wanted.zone), zone_of(connection)
    history, has_archives = LabelHistory(connection, labels), archived_until(connection) is not None
    for since, until in _spans(connection, wanted, ids, zone, rollup_zone):
        found: dict[tuple[Any, ...], Totals] = {}
        for span in spans(connection, replace(wanted, since=since, until=until), labels):
            segments = segments_of(connection, span, ids, rollup_zone, zone, has_archives=has_archives)
            for row in _sums_of(connection, span, ids, segments):
                values = history.of(row.slug, span.since or since)
                key = (row.slug, row.source, row.provider, row.model, values)
                found.setdefault(key, Totals()).add_sums(sums_of(row))
        day = day_of(since, zone)
        yield [
            DailyRow(day, slug, source, provider, model, sums, values)
            for (slug, source, provider, model, values), sums in sorted(found.items(), key=itemgetter(0))
        ]


def _sums_of(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], segments: Sequence[Segment]
) -> Sequence[AnyRow]:
    parts = [aggregate_segment(segment, wanted, ids, _KEYS) for segment in segments]
    return connection.execute(combine(parts, _KEYS)).all()


def about_rows(database: Database, wanted: UsageFilter, actor: Actor) -> int:
    """How many rows the summary will have, without making it: exact where its days are those of the roll-up."""
    with database.read() as connection:
        ids = visible_ids(connection, actor, wanted.projects)
        since = None if wanted.since is None else wanted.since - DAY + 1
        grain: Grain = (
            "event" if wanted.by_call else "day"
        )  # by events it is more than that: a row a quarter hour
        segment = Segment(grain, since, wanted.until)
        days = aggregate_segment(segment, wanted, ids, (*_KEYS, "at")).subquery()
        return int(connection.execute(select(func.count()).select_from(days)).scalar_one())


def _spans(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], zone: ZoneInfo, rollup_zone: ZoneInfo
) -> Iterator[tuple[Micros, Micros]]:
    """The days of the period that have usage, however far they lie apart: a row of 2011 costs one day, not years."""
    busy = (
        day_of(day_at, rollup_zone) for day_at in connection.execute(_busy_days(wanted, ids)).scalars().all()
    )
    for day in dict.fromkeys(chain.from_iterable(_touched(each, rollup_zone, zone) for each in busy)):
        since, until = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        since = since if wanted.since is None else max(since, wanted.since)
        until = until if wanted.until is None else min(until, wanted.until)
        if since < until:
            yield since, until


def _busy_days(wanted: UsageFilter, ids: Sequence[str]) -> Select[Any]:
    day = usage_daily_totals.c.day_at
    found = select(day).distinct().where(usage_daily_totals.c.project_id.in_(ids)).order_by(day)
    if wanted.since is not None:
        found = found.where(day > wanted.since - 2 * DAY)
    return found if wanted.until is None else found.where(day < wanted.until)


def _touched(day: date, rollup_zone: ZoneInfo, zone: ZoneInfo) -> Iterator[date]:
    """The days of ``zone`` that share an instant with a day of the roll-ups."""
    return days_between(midnight(day, rollup_zone), midnight(day + timedelta(days=1), rollup_zone), zone)
