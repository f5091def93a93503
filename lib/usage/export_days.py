"""The daily summary, a day at a time: what is held in memory does not grow with the period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select, union_all

from lib.clock import DAY, Micros
from lib.db.tables import projects, usage_daily
from lib.usage.columns import DAILY_HEADER, inert
from lib.usage.export_csv import Writable, write_csv
from lib.usage.export_events import TOKENS
from lib.usage.periods import day_of, days_between, midnight, zone_named
from lib.usage.prices import plain_usd
from lib.usage.reports import UsageFilter
from lib.usage.rollups import SUMS, zone_of
from lib.usage.segments import Segment, plan, plan_days
from lib.usage.summing import part


@dataclass
class Day:
    """A row: what one day, project, source, provider and model come to."""

    day: date
    project: str
    source: str
    provider: str
    model: str
    sums: Counter[str] = field(default_factory=Counter)

    def cells(self, *, raw: bool) -> list[object]:
        """In the order of DAILY_HEADER."""
        sums = self.sums
        names = [self.project, self.source, self.provider, self.model]
        cost = plain_usd(sums["cost_nano"] if sums["calls"] > sums["unpriced_calls"] else None)
        return [
            self.day.isoformat(),
            *(names if raw else map(inert, names)),
            *(sums[name] for name in ("calls", *TOKENS)),
            cost,
            sums["unpriced_calls"],
        ]


class DaysAsCsv:
    """The daily summary as CSV."""

    def __init__(self, out: Writable, *, raw: bool) -> None:
        self._out, self._raw = out, raw
        write_csv(out, [DAILY_HEADER])

    def write(self, days: Sequence[Day]) -> None:
        """Write some rows."""
        write_csv(self._out, (day.cells(raw=self._raw) for day in days))


def single_days(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[list[Day]]:
    """All rows by date, project, source, provider and model, those of a day at a time."""
    zone, rollup_zone = zone_named(wanted.zone), zone_of(connection)
    slugs = {row.id: row.slug for row in connection.execute(select(projects.c.id, projects.c.slug))}
    for since, until in _spans(connection, wanted, ids, zone):
        if zone.key == rollup_zone.key:
            segments = plan(since, until, rollup_zone)
        else:
            segments = plan_days(since, until, zone)
        yield _summed(connection, segments, wanted, ids, zone, slugs)


def _summed(
    connection: Connection,
    segments: Sequence[Segment],
    wanted: UsageFilter,
    ids: Sequence[str],
    zone: ZoneInfo,
    slugs: dict[str, str],
) -> list[Day]:
    found: dict[tuple[date, str, str, str, str], Day] = {}
    for row in connection.execute(union_all(*(part(each, wanted, ids, days=True) for each in segments))):
        key = (day_of(row.at, zone), slugs[row.project_id], row.source, row.provider, row.model)
        sums = found.setdefault(key, Day(*key)).sums
        for name in SUMS:
            sums[name] += int(getattr(row, name))
    return [found[key] for key in sorted(found)]


def _spans(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], zone: ZoneInfo
) -> Iterator[tuple[Micros, Micros]]:
    """The period, or what of it has usage, cut at midnights."""
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
