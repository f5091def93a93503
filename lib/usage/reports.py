"""What pages and exports count: the same filter, the same sums, exact to the nano-USD.

Everything is summed in SQL over integers, by source: the two ledgers are never mixed. What is asked for is
cut into whole days, whole hours and part hours (lib.usage.segments), which the daily roll-up, the hourly
roll-up and the events answer; so the cost does not grow with history, and the edges are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from typing import Any, Self
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from lib.access.roles import Action, Actor, allows
from lib.clock import HOUR, Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, usage_daily, usage_events, usage_hourly
from lib.errors import BadInput, ProjectUnknown
from lib.usage.events import sweep
from lib.usage.periods import day_of, days_between, zone_named
from lib.usage.prices import usd
from lib.usage.rollups import DIMENSIONS, QUARTER, SUMS, event_dimensions, event_sums, zone_of
from lib.usage.segments import Segment, plan, plan_days, plan_hours


@dataclass(frozen=True)
class UsageFilter:
    """Which usage counts. Empty means all. ``since`` is inclusive, ``until`` exclusive, in microseconds."""

    projects: Sequence[str] = ()
    sources: Sequence[str] = ()
    providers: Sequence[str] = ()
    models: Sequence[str] = ()
    kinds: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: Micros | None = None
    until: Micros | None = None
    zone: str = "UTC"
    sample: bool = False
    """Count the sample data in place of what is real; without it, only where ``projects`` names it."""


@dataclass
class Totals:
    """Sums of usage. Money in nano-USD of calls with a known price; ``unpriced_calls`` are in no sum of money."""

    calls: int = 0
    platform_calls: int = 0
    byok_calls: int = 0
    failed_calls: int = 0
    unpriced_calls: int = 0
    platform_nano: int = 0
    byok_nano: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_nano(self) -> int:
        """Both ledgers together."""
        return self.platform_nano + self.byok_nano

    @property
    def total(self) -> Decimal:
        """Both ledgers together, in USD."""
        return usd(self.total_nano)

    def add(self, other: Totals) -> Self:
        """Add another sum to this one."""
        for name in FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


FIELDS = tuple(column.name for column in fields(Totals))


@dataclass
class DayRow(Totals):
    """The sums of one day of the filter's zone."""

    day: date = field(default=date.min, kw_only=True)


@dataclass
class HourRow(Totals):
    """The sums of one hour of UTC, which begins at ``at``."""

    at: Micros = field(default=0, kw_only=True)


@dataclass
class ModelRow(Totals):
    """The sums of one model."""

    model: str = field(default="", kw_only=True)


@dataclass
class ProjectRow(Totals):
    """The sums of one project."""

    project: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class DailyRow:
    """One row of the daily summary: a day, project, source, provider and model."""

    day: date
    project: str
    source: str
    provider: str
    model: str
    totals: Totals


@dataclass(frozen=True)
class Choices:
    """What there is to filter by, in the projects that the actor may see."""

    models: list[str]
    providers: list[str]


class Reports:
    """Sums over usage, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self, wanted: UsageFilter, *, actor: Actor) -> Totals:
        """The sums of everything that matches."""
        rows = self._sums(wanted, actor, ())
        return Totals(**_values(rows[0])) if rows else Totals()

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
            days[day_of(row.at, zone)].add(Totals(**_values(row)))
        return list(days.values())

    def by_hour(self, wanted: UsageFilter, *, actor: Actor) -> list[HourRow]:
        """The sums of each hour of UTC, without gaps. Needs ``since`` and ``until``."""
        if wanted.since is None or wanted.until is None:
            raise BadInput("Hours need a period with a beginning and an end.")
        first = wanted.since - wanted.since % HOUR
        hours = {at: HourRow(at=at) for at in range(first, wanted.until, HOUR)}
        for row in self._sums(wanted, actor, ("at",), hourly=True):
            hours[row.at - row.at % HOUR].add(Totals(**_values(row)))
        return list(hours.values())

    def by_model(self, wanted: UsageFilter, *, actor: Actor) -> list[ModelRow]:
        """The sums of each model, the most expensive first."""
        rows = self._sums(wanted, actor, ("model",))
        found = [ModelRow(model=row.model, **_values(row)) for row in rows]
        return sorted(found, key=lambda row: (-row.total_nano, -row.calls, row.model))

    def by_project(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, ProjectRow]:
        """The sums of each project that has usage, by slug."""
        rows = self._sums(wanted, actor, ("slug",))
        return {row.slug: ProjectRow(project=row.slug, **_values(row)) for row in rows}

    def courses(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, dict[date, int]]:
        """What each project spent each day, both ledgers together, in nano-USD; only days with usage."""
        zone = zone_named(wanted.zone)
        found: dict[str, dict[date, int]] = {}
        for row in self._sums(wanted, actor, ("slug", "at"), zone=zone):
            course, day = found.setdefault(row.slug, {}), day_of(row.at, zone)
            course[day] = course.get(day, 0) + int(row.platform_nano) + int(row.byok_nano)
        return found

    def by_status(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, Totals]:
        """The sums of each status of a call."""
        return {row.status: Totals(**_values(row)) for row in self._sums(wanted, actor, ("status",))}

    def daily(self, wanted: UsageFilter, *, actor: Actor) -> list[DailyRow]:
        """The daily summary, by date, project, source, provider and model."""
        zone = zone_named(wanted.zone)
        found: dict[tuple[date, str, str, str, str], Totals] = {}
        for row in self._sums(wanted, actor, ("slug", "source", "provider", "model", "at"), zone=zone):
            key = (day_of(row.at, zone), row.slug, row.source, row.provider, row.model)
            found.setdefault(key, Totals()).add(Totals(**_values(row)))
        return [DailyRow(*key, totals) for key, totals in sorted(found.items(), key=lambda item: item[0])]

    def choices(self, *, actor: Actor, sample: bool = False) -> Choices:
        """Models and providers that occur."""
        rows = self._sums(UsageFilter(sample=sample), actor, ("model", "provider"))
        return Choices(sorted({row.model for row in rows}), sorted({row.provider for row in rows}))

    def _sums(
        self,
        wanted: UsageFilter,
        actor: Actor,
        by: Sequence[str],
        *,
        zone: ZoneInfo | None = None,
        hourly: bool = False,
    ) -> Sequence[AnyRow]:
        """Sum by the columns ``by``.

        With ``zone``, ``at`` is an instant of the day that a row belongs to; ``hourly``, one of its hour.
        """
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, wanted.projects, sample=wanted.sample)
            if hourly:
                segments = list(plan_hours(wanted.since, wanted.until))
            else:
                segments = _segments(connection, wanted, ids, zone)
            if not segments or not ids:
                return []
            parts = [part(segment, wanted, ids, days="at" in by) for segment in segments]
            inner = union_all(*parts).subquery()
            # The slug is joined outside: the parts need only the id.
            columns = [projects.c.slug if name == "slug" else inner.c[name] for name in by]
            statement = select(*columns, *_sum_columns(inner.c)).select_from(inner)
            if "slug" in by:
                statement = statement.join(projects, projects.c.id == inner.c.project_id)
            return connection.execute(statement.group_by(*columns) if by else statement).all()


def _segments(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], zone: ZoneInfo | None
) -> list[Segment]:
    rollup_zone = zone_of(connection)
    if zone is None or zone.key == rollup_zone.key:
        return plan(wanted.since, wanted.until, rollup_zone)
    since, until = wanted.since, wanted.until
    if since is None or until is None:
        hour = usage_hourly.c.hour_at
        span = select(func.min(hour), func.max(hour)).where(usage_hourly.c.project_id.in_(ids))
        first, last = connection.execute(span).one()
        if first is None:
            return []
        since, until = since if since is not None else first, until if until is not None else last + HOUR
    return plan_days(since, until, zone)


def visible_ids(
    connection: Connection,
    actor: Actor,
    slugs: Iterable[str],
    action: Action = Action.SEE_SPEND,
    *,
    sample: bool = False,
) -> list[str]:
    """Ids of the projects named, or else of all real (or all ``sample``) ones that the actor may see.

    Raises:
        ProjectUnknown: one that is named does not exist, or the actor may not know of it.
        BadInput: real projects and sample data are named together; no sum mixes them.
    """
    rows = connection.execute(select(projects.c.slug, projects.c.id, projects.c.sample))
    visible = {row.slug: row for row in rows if allows(actor, action, row.id)}
    named = dict.fromkeys(slugs)
    for slug in named:
        if slug not in visible:
            raise ProjectUnknown(slug)
    if len({visible[slug].sample for slug in named}) > 1:
        raise BadInput("Sample data and real projects are never counted together. Choose one or the other.")
    chosen = [visible[slug] for slug in named] or [row for row in visible.values() if row.sample == sample]
    return [row.id for row in chosen]


def matching(statement: Select[Any], wanted: UsageFilter, project_ids: Sequence[str]) -> Select[Any]:
    """Narrow a SELECT over usage events to what the filter lets through, in these projects."""
    return _narrowed(statement, usage_events, "occurred_at", wanted, project_ids, wanted.since, wanted.until)


def part(segment: Segment, wanted: UsageFilter, project_ids: Sequence[str], *, days: bool) -> Select[Any]:
    """The sums of one segment, from the table that answers it; ``days``: each with an instant of its day."""
    table, moment = _TABLES[segment.grain]
    at: ColumnElement[int] = table.c[moment]
    if table is usage_events:
        at = at - at % literal_column(str(QUARTER))
        dimensions, sums = event_dimensions(), event_sums()
    else:
        dimensions = [table.c[name] for name in DIMENSIONS]
        sums = [func.sum(table.c[name]).label(name) for name in SUMS]
    keys = [table.c.project_id, *dimensions, *([_not_before(at, segment).label("at")] if days else [])]
    statement = _narrowed(
        select(*keys, *sums), table, moment, wanted, project_ids, segment.since, segment.until
    )
    return statement.group_by(*keys)


def _not_before(at: ColumnElement[int], segment: Segment) -> ColumnElement[int]:
    """A quarter that began before the segment holds only what came after its beginning."""
    if segment.grain != "event" or segment.since is None or segment.since % QUARTER == 0:
        return at
    since: ColumnElement[int] = literal_column(str(segment.since), BigInteger)
    return case((at < since, since), else_=at)


def _narrowed(
    statement: Select[Any],
    table: Table,
    moment: str,
    wanted: UsageFilter,
    project_ids: Sequence[str],
    since: Micros | None,
    until: Micros | None,
) -> Select[Any]:
    statement = statement.where(table.c.project_id.in_(project_ids))
    one_of = {
        table.c.source: wanted.sources,
        table.c.provider: wanted.providers,
        table.c.model: wanted.models,
        table.c.run_kind: wanted.kinds,
        table.c.status: wanted.statuses,
    }
    for column, values in one_of.items():
        if values:
            statement = statement.where(column.in_(values))
    if since is not None:
        statement = statement.where(table.c[moment] >= since)
    if until is not None:
        statement = statement.where(table.c[moment] < until)
    return statement


_TABLES = {
    "day": (usage_daily, "day_at"),
    "hour": (usage_hourly, "hour_at"),
    "event": (usage_events, "occurred_at"),
}


def _sum_columns(column: Any) -> list[ColumnElement[Any]]:
    platform = column.source == "platform"

    def total(value: Any) -> ColumnElement[Any]:
        return func.coalesce(func.sum(value), 0)

    return [
        total(column.calls).label("calls"),
        total(case((platform, column.calls), else_=0)).label("platform_calls"),
        total(case((platform, 0), else_=column.calls)).label("byok_calls"),
        total(case((column.status == "ok", 0), else_=column.calls)).label("failed_calls"),
        total(column.unpriced_calls).label("unpriced_calls"),
        total(case((platform, column.cost_nano), else_=0)).label("platform_nano"),
        total(case((platform, 0), else_=column.cost_nano)).label("byok_nano"),
        *(total(column[name]).label(name) for name in SUMS[3:]),
    ]


def _values(row: AnyRow) -> dict[str, int]:
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal; every sum is a whole number.
    return {name: int(getattr(row, name)) for name in FIELDS}
