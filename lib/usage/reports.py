"""What pages and exports count: the same filter, the same sums, exact to the nano-USD.

Everything is summed in SQL over integers, by source: the two ledgers are never mixed. Days belong to a
time zone; SQL groups by quarters of an hour, which every zone's days are made of, and they are put
together here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from lib.access.roles import Action, Actor, allows
from lib.clock import MINUTE, Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, usage_events
from lib.errors import ProjectUnknown
from lib.usage.events import sweep
from lib.usage.periods import day_of, days_between, zone_named
from lib.usage.prices import usd

_QUARTER: Micros = 15 * MINUTE


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
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


SUMS = tuple(column.name for column in fields(Totals))


@dataclass
class DayRow(Totals):
    """The sums of one day of the filter's zone."""

    day: date = field(default=date.min, kw_only=True)


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
    """Sums over usage events, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def totals(self, wanted: UsageFilter, *, actor: Actor) -> Totals:
        """The sums of everything that matches."""
        rows = self._grouped(wanted, actor, ())
        return Totals(**_sums(rows[0])) if rows else Totals()

    def by_day(self, wanted: UsageFilter, *, actor: Actor) -> list[DayRow]:
        """The sums of each day, without gaps between ``since`` and ``until`` (else: first and last call)."""
        zone = zone_named(wanted.zone)
        rows = self._grouped(wanted, actor, (_bucket(),))
        if not rows:
            return []
        moments = [row.bucket for row in rows]
        since = min(moments) if wanted.since is None else wanted.since
        until = max(moments) + 1 if wanted.until is None else wanted.until
        days = {day: DayRow(day=day) for day in days_between(since, until, zone)}
        for row in rows:
            # A bucket that began before ``since`` holds only what came after it.
            days[day_of(max(row.bucket, since), zone)].add(Totals(**_sums(row)))
        return list(days.values())

    def by_model(self, wanted: UsageFilter, *, actor: Actor) -> list[ModelRow]:
        """The sums of each model, the most expensive first."""
        rows = self._grouped(wanted, actor, (usage_events.c.model,))
        found = [ModelRow(model=row.model, **_sums(row)) for row in rows]
        return sorted(found, key=lambda row: (-row.total_nano, -row.calls, row.model))

    def by_project(self, wanted: UsageFilter, *, actor: Actor) -> dict[str, ProjectRow]:
        """The sums of each project that has usage, by slug."""
        rows = self._grouped(wanted, actor, (projects.c.slug,))
        return {row.slug: ProjectRow(project=row.slug, **_sums(row)) for row in rows}

    def daily(self, wanted: UsageFilter, *, actor: Actor) -> list[DailyRow]:
        """The daily summary, by date, project, source, provider and model."""
        zone = zone_named(wanted.zone)
        by = (
            projects.c.slug,
            usage_events.c.source,
            usage_events.c.provider,
            usage_events.c.model,
            _bucket(),
        )
        found: dict[tuple[date, str, str, str, str], Totals] = {}
        for row in self._grouped(wanted, actor, by):
            day = day_of(max(row.bucket, wanted.since or row.bucket), zone)
            key = (day, row.slug, row.source, row.provider, row.model)
            found.setdefault(key, Totals()).add(Totals(**_sums(row)))
        return [DailyRow(*key, totals) for key, totals in sorted(found.items(), key=lambda item: item[0])]

    def choices(self, *, actor: Actor) -> Choices:
        """Models and providers that occur."""
        rows = self._grouped(UsageFilter(), actor, (usage_events.c.model, usage_events.c.provider))
        return Choices(sorted({row.model for row in rows}), sorted({row.provider for row in rows}))

    def _grouped(
        self, wanted: UsageFilter, actor: Actor, by: Sequence[ColumnElement[Any]]
    ) -> Sequence[AnyRow]:
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, wanted.projects)
            statement = select(*by, *_SUM_COLUMNS).select_from(usage_events)
            if any(column is projects.c.slug for column in by):
                statement = statement.join(projects, projects.c.id == usage_events.c.project_id)
            statement = matching(statement, wanted, ids)
            return connection.execute(statement.group_by(*by) if by else statement).all()


def visible_ids(
    connection: Connection, actor: Actor, slugs: Iterable[str], action: Action = Action.SEE_SPEND
) -> list[str]:
    """Ids of the projects named, or of all that the actor may see. Raises ProjectUnknown for any other."""
    rows = connection.execute(select(projects.c.slug, projects.c.id))
    visible = {row.slug: row.id for row in rows if allows(actor, action, row.id)}
    for slug in slugs:
        if slug not in visible:
            raise ProjectUnknown(slug)
    return [visible[slug] for slug in dict.fromkeys(slugs)] or list(visible.values())


def matching(statement: Select[Any], wanted: UsageFilter, project_ids: Sequence[str]) -> Select[Any]:
    """Narrow a SELECT over usage events to what the filter lets through, in these projects."""
    statement = statement.where(usage_events.c.project_id.in_(project_ids))
    one_of = {
        usage_events.c.source: wanted.sources,
        usage_events.c.provider: wanted.providers,
        usage_events.c.model: wanted.models,
        usage_events.c.run_kind: wanted.kinds,
        usage_events.c.status: wanted.statuses,
    }
    for column, values in one_of.items():
        if values:
            statement = statement.where(column.in_(values))
    if wanted.since is not None:
        statement = statement.where(usage_events.c.occurred_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(usage_events.c.occurred_at < wanted.until)
    return statement


def _bucket() -> ColumnElement[Any]:
    occurred_at = usage_events.c.occurred_at
    return (occurred_at - occurred_at % _QUARTER).label("bucket")


def _sum_if(condition: ColumnElement[bool], value: Any) -> ColumnElement[Any]:
    return func.coalesce(func.sum(case((condition, value), else_=0)), 0)


_platform = usage_events.c.source == "platform"
_SUM_COLUMNS = (
    func.count().label("calls"),
    _sum_if(_platform, 1).label("platform_calls"),
    _sum_if(~_platform, 1).label("byok_calls"),
    _sum_if(usage_events.c.status != "ok", 1).label("failed_calls"),
    _sum_if(usage_events.c.cost_nano.is_(None), 1).label("unpriced_calls"),
    _sum_if(_platform, usage_events.c.cost_nano).label("platform_nano"),
    _sum_if(~_platform, usage_events.c.cost_nano).label("byok_nano"),
    *(
        func.coalesce(func.sum(usage_events.c[name]), 0).label(name)
        for name in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    ),
)


def _sums(row: AnyRow) -> dict[str, int]:
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal; every sum is a whole number.
    return {name: int(getattr(row, name)) for name in SUMS}
