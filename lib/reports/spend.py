"""What pages and exports count: the same filter, the same sums, exact to the nano-USD.

Everything is summed in SQL over integers, by source: the two ledgers are never mixed. What is asked for is
cut into whole days, whole hours and part hours (lib.reports.segments), which the daily roll-up, the hourly
roll-up and the events answer; so the cost does not grow with history, and the edges are exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, exists, func, literal, select

from lib.access.projects import ProjectIds, visible_projects
from lib.access.roles import Actor
from lib.clock import HOUR, Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, usage_daily_totals, usage_hourly_totals, usage_models
from lib.errors import BadInput
from lib.reports.labels import labelled, spans, values_of
from lib.reports.models import (
    FIELDS,
    DayRow,
    FilterOptions,
    HourRow,
    ModelRow,
    ProjectRow,
    SpendTotals,
    Totals,
    UsageFilter,
)
from lib.reports.queries import UNPRICED, aggregate_segment, combine, sums_of
from lib.reports.segments import Grain, Segment, plan, plan_days, plan_hours
from lib.usage.archived import missing_before, require_events
from lib.usage.expiry import sweep
from lib.usage.periods import day_of, days_between, hours_between, zone_named
from lib.usage.rollups import zone_of

_NOTHING = SpendTotals()


class Reports:
    """Sums over usage, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self, wanted: UsageFilter, *, actor: Actor) -> Totals:
        """The sums of everything that matches."""
        rows = self._sums(wanted, actor, ())
        return Totals(**sums_of(rows[0])) if rows else Totals()

    def calls_missing_before(self, wanted: UsageFilter, *, actor: Actor) -> Micros | None:
        """Up to when single calls that would match are archived, None where all are here. Sums have all of them."""
        with self._database.read() as connection:
            return missing_before(
                connection, wanted.since, visible_projects(connection, actor, wanted.projects)
            )

    def any_call(self, *, actor: Actor) -> bool:
        """Whether the actor may see any call, of whenever it is."""
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, ())
            found = exists().where(usage_daily_totals.c.project_id.in_(ids))
            return bool(connection.execute(select(found)).scalar())

    def by_day(self, wanted: UsageFilter, *, actor: Actor) -> list[DayRow]:
        """The sums of each day, without gaps between ``since`` and ``until`` (else: first and last call)."""
        zone = zone_named(wanted.zone)
        rows = self._sums(wanted, actor, ("at",), zone=zone)
        since, until = wanted.since, wanted.until
        if since is None or until is None:
            if not rows:
                return []
            since = min(row.at for row in rows) if since is None else since
            until = max(row.at for row in rows) + 1 if until is None else until
        days = {day: DayRow(day=day) for day in days_between(since, until, zone)}
        for row in rows:
            days[day_of(row.at, zone)].add_sums(sums_of(row))
        return list(days.values())

    def by_hour(self, wanted: UsageFilter, *, actor: Actor) -> list[HourRow]:
        """The sums of each hour of the filter's zone, without gaps; for a few days with a beginning and an end.

        Where the zone's hours begin within one of UTC, they are summed from the events.
        """
        if wanted.since is None or wanted.until is None:
            raise BadInput("Hours need a period with a beginning and an end.")
        starts = hours_between(wanted.since, wanted.until, zone_named(wanted.zone))
        whole = all(start % HOUR == 0 for start in starts)
        hours = [HourRow(at=start) for start in starts]
        grain: Grain = "hour" if whole else "event"
        for row in self._sums(wanted, actor, ("at",), grain=grain) if starts else ():
            hours[bisect_right(starts, row.at) - 1].add_sums(sums_of(row))
        return hours

    def by_utc_hour(self, wanted: UsageFilter, *, actor: Actor) -> dict[Micros, SpendTotals]:
        """What was spent in each hour of UTC that has usage, by its beginning. Needs ``since`` and ``until``."""
        if wanted.since is None or wanted.until is None:
            raise BadInput("Hours need a period with a beginning and an end.")
        hours: dict[Micros, SpendTotals] = {}
        for at, platform, byok in self._sums(wanted, actor, ("at",), grain="hour", names=SpendTotals._fields):
            hour = at - at % HOUR
            hours[hour] = hours.get(hour, _NOTHING).plus(platform, byok)
        return hours

    def by_model(self, wanted: UsageFilter, *, actor: Actor) -> list[ModelRow]:
        """The sums of each model, the most expensive first."""
        rows = self._sums(wanted, actor, ("model",))
        found = [ModelRow(model=row.model, **sums_of(row)) for row in rows]
        return sorted(found, key=lambda row: (-row.total_nano, -row.calls, row.model))

    def by_project_and_model(
        self, wanted: UsageFilter, *, actor: Actor
    ) -> dict[tuple[str, tuple[str, str]], Totals]:
        """The sums of each model in each project: by its slug, and by provider and model."""
        rows = self._sums(wanted, actor, ("project_id", "provider", "model"))
        return {(row.slug, (row.provider, row.model)): Totals(**sums_of(row)) for row in rows}

    def by_project(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, ProjectRow]:
        """The sums of each project that has usage, by slug."""
        rows = self._sums(wanted, actor, ("project_id",))
        return {row.slug: ProjectRow(project=row.slug, **sums_of(row)) for row in rows}

    def project_days(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, dict[date, SpendTotals]]:
        """What each project spent each day; only days with usage."""
        zone = zone_named(wanted.zone)
        found: dict[str, dict[date, SpendTotals]] = {}
        days: dict[Micros, date] = {}
        for slug, at, platform, byok in self._sums(
            wanted, actor, ("project_id", "at"), zone=zone, names=SpendTotals._fields
        ):
            day = days.get(at) or days.setdefault(at, day_of(at, zone))
            series = found.setdefault(slug, {})
            series[day] = series.get(day, _NOTHING).plus(platform, byok)
        return found

    def without_price(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, int]:
        """How many calls have no known cost, by slug of the projects that have any."""
        rows = self._sums(wanted, actor, ("project_id",), names=UNPRICED)
        found = {slug: int(platform) + int(byok) for slug, platform, byok in rows}
        return {slug: calls for slug, calls in found.items() if calls}

    def filter_options(self, *, actor: Actor) -> FilterOptions:
        """Models and providers that occur, and labels."""
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, ())
            found = select(usage_models.c.provider, usage_models.c.model).distinct()
            rows = connection.execute(found.where(usage_models.c.project_id.in_(ids))).all()
            labels = values_of(connection, ids)
        models, providers = ({getattr(row, name) for row in rows} for name in ("model", "provider"))
        return FilterOptions(sorted(models), sorted(providers), labels)

    def labelled(self, labels: Sequence[str], at: Micros, *, actor: Actor) -> set[str]:
        """The projects that have these labels at that instant, by slug; ``labels`` as in a filter."""
        with self._database.read() as connection:
            moment = literal(at, BigInteger)
            found = select(projects.c.slug).where(*labelled(projects.c.id, moment, labels))
            ids = visible_projects(connection, actor, ())
            return set(connection.execute(found.where(projects.c.id.in_(ids))).scalars())

    def _sums(
        self,
        wanted: UsageFilter,
        actor: Actor,
        by: Sequence[str],
        *,
        zone: ZoneInfo | None = None,
        grain: Grain = "day",
        names: Sequence[str] = FIELDS,
    ) -> Sequence[AnyRow]:
        """The sums ``names`` by the columns ``by``, over the period of the filter.

        With ``zone``, ``at`` is an instant of the day that a row belongs to; by hours, one of its hour; by events,
        one of its quarter of an hour.
        """
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, wanted.projects)
            days = zone_of(connection)
            parts = [
                aggregate_segment(segment, wanted, ids, by, names)
                for span in (spans(connection, wanted) if ids != [] else ())
                for segment in segments_of(connection, span, ids, days, zone, grain)
            ]
            return connection.execute(combine(parts, by, names)).all() if parts else []


def segments_of(
    connection: Connection,
    wanted: UsageFilter,
    ids: ProjectIds,
    rollup_zone: ZoneInfo,
    zone: ZoneInfo | None = None,
    grain: Grain = "day",
    *,
    has_archives: bool = True,
) -> list[Segment]:
    """The segments of the filter's period.

    Args:
        connection: of one read.
        wanted: the period.
        ids: of which projects.
        rollup_zone: whose days the daily roll-up holds.
        zone: whose days the sums are wanted by; None where they are not wanted by day.
        grain: the largest that may answer.
        has_archives: False where the caller has found that no month is archived, and asks for many periods.

    Raises:
        UsageArchived: an edge of the period takes single calls, which are not here any more.
    """
    found = _segments(connection, wanted, ids, rollup_zone, zone, grain)
    calls = [segment.since or 0 for segment in found if segment.grain == "event"]
    if calls and has_archives:
        require_events(connection, min(calls), ids)
    return found


def _segments(
    connection: Connection,
    wanted: UsageFilter,
    ids: ProjectIds,
    rollup_zone: ZoneInfo,
    zone: ZoneInfo | None,
    grain: Grain,
) -> list[Segment]:
    if grain == "event" or wanted.by_call:
        return [Segment("event", wanted.since, wanted.until)]
    if grain == "hour":
        return list(plan_hours(wanted.since, wanted.until))
    if zone is None or zone.key == rollup_zone.key:
        return plan(wanted.since, wanted.until, rollup_zone)
    since, until = wanted.since, wanted.until
    if since is None or until is None:
        hour = usage_hourly_totals.c.hour_at
        span = select(func.min(hour), func.max(hour)).where(usage_hourly_totals.c.project_id.in_(ids))
        first, last = connection.execute(span).one()
        if first is None:
            return []
        since, until = since if since is not None else first, until if until is not None else last + HOUR
    return plan_days(since, until, zone)
