"""The SQL of the reports: which rows a filter lets through, and their sums from the table that answers a stretch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    Table,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from lib.access.projects import ProjectIds
from lib.clock import HOUR, Micros
from lib.db import AnyRow
from lib.db.rollup_tables import MEASURES, TOKENS
from lib.db.tables import (
    projects,
    runs,
    usage_daily,
    usage_daily_models,
    usage_daily_totals,
    usage_events,
    usage_hourly,
    usage_hourly_totals,
)
from lib.reports.labels import labelled
from lib.reports.models import FIELDS, UsageFilter
from lib.reports.segments import Segment
from lib.usage.measures import added_by_event
from lib.usage.rollup_totals import FAILURES
from lib.usage.rollups import QUARTER

_MOST_PARTS = 100
UNPRICED = ("platform_unpriced_calls", "byok_unpriced_calls")


def matching(statement: Select[Any], wanted: UsageFilter, project_ids: ProjectIds) -> Select[Any]:
    """Narrow a SELECT over usage events to what the filter lets through, in these projects."""
    return narrowed(statement, usage_events, "occurred_at", wanted, project_ids, wanted.since, wanted.until)


def aggregate_segment(
    segment: Segment,
    wanted: UsageFilter,
    project_ids: ProjectIds,
    by: Sequence[str],
    names: Sequence[str] = FIELDS,
) -> Select[Any]:
    """The sums ``names`` of ``Totals`` over one segment, from the table that answers it.

    By ``project_id`` or a dimension; ``at`` is the moment of the roll-up's row, or a quarter of an hour.
    """
    table, moment = _table(segment, wanted, by)
    keys = [_key(table, moment, segment, name) for name in by]
    edges = (None, None) if segment.cuts and table is usage_events else (segment.since, segment.until)
    sums = _sums(table, tuple(names))
    statement = narrowed(select(*keys, *sums), table, moment, wanted, project_ids, *edges)
    if set(names) <= set(UNPRICED):
        # Few rows have any, and days have an index of those; the 0 is written out, as it is there.
        statement = statement.where(_values(table)["unpriced_calls"] > literal_column("0"))
    if segment.cuts:
        statement = _with_cuts(statement, segment, table, project_ids)
    return statement.group_by(*keys) if keys else statement


def _key(table: Table, moment: str, segment: Segment, name: str) -> ColumnElement[Any]:
    if name == "at":
        return _instant(table.c[moment], segment).label("at")
    if name == "run_kind":  # an import has none, which is empty in the roll-ups
        return func.coalesce(table.c.run_kind, literal_column("''")).label("run_kind")
    return table.c[name]


def _with_cuts(
    statement: Select[Any], segment: Segment, table: Table, project_ids: ProjectIds
) -> Select[Any]:
    if segment.grain == "hour":
        return statement.where(table.c.hour_at.not_in(segment.cuts))
    # The roll-up knows which of those hours have events at all: one look-up for each that has. The range is for
    # SQLite's index; by the equal hour PostgreSQL hashes, where it would compare each event with each hour.
    hourly = usage_hourly_totals.c
    busy = select(hourly.project_id, hourly.hour_at).where(
        hourly.project_id.in_(project_ids), hourly.hour_at.in_(segment.cuts)
    )
    found = busy.distinct().subquery("busy")
    event, at = usage_events.c, usage_events.c.occurred_at
    inside = (at >= found.c.hour_at) & (at < found.c.hour_at + HOUR)
    same = found.c.hour_at == at - at % literal_column(str(HOUR))
    return statement.join_from(found, usage_events, (event.project_id == found.c.project_id) & inside & same)


def combine(parts: Sequence[Select[Any]], by: Sequence[str], names: Sequence[str] = FIELDS) -> Select[Any]:
    """The sums of several segments together, by project's slug in place of its id."""
    if len(parts) == 1 and "project_id" not in by:
        return parts[0]
    inner = union_of(parts).subquery()
    keys = [projects.c.slug if name == "project_id" else inner.c[name] for name in by]
    statement = select(*keys, *(func.sum(inner.c[name]).label(name) for name in names)).select_from(inner)
    if "project_id" in by:
        statement = statement.join(projects, projects.c.id == inner.c.project_id)
    return statement.group_by(*keys) if keys else statement


def union_of(parts: Sequence[Select[Any]]) -> CompoundSelect[Any]:
    """All rows of all parts; SQLite takes 500 in one statement, so many are put together in steps."""
    if len(parts) <= _MOST_PARTS:
        return union_all(*parts)
    steps = [parts[start : start + _MOST_PARTS] for start in range(0, len(parts), _MOST_PARTS)]
    return union_of([select(union_all(*step).subquery()) for step in steps])


def _table(segment: Segment, wanted: UsageFilter, by: Sequence[str]) -> tuple[Table, str]:
    """The smallest table that knows what is asked for, and its column of moments."""
    if segment.grain == "event":
        return usage_events, "occurred_at"
    every = bool(wanted.kinds or wanted.statuses or "run_kind" in by)
    models = bool(wanted.providers or wanted.models or {"provider", "model"} & set(by))
    if segment.grain == "hour":
        return usage_hourly if every or models else usage_hourly_totals, "hour_at"
    if every:
        return usage_daily, "day_at"
    return usage_daily_models if models else usage_daily_totals, "day_at"


def _instant(at: ColumnElement[int], segment: Segment) -> ColumnElement[int]:
    return _not_before(at - at % literal_column(str(QUARTER)), segment) if segment.grain == "event" else at


def _not_before(at: ColumnElement[int], segment: Segment) -> ColumnElement[int]:
    """A quarter that began before the segment holds only what came after its beginning."""
    if segment.grain != "event" or segment.since is None or segment.since % QUARTER == 0:
        return at
    since: ColumnElement[int] = literal_column(str(segment.since), BigInteger)
    return case((at < since, since), else_=at)


def narrowed(
    statement: Select[Any],
    table: Table,
    moment: str,
    wanted: UsageFilter,
    project_ids: ProjectIds,
    since: Micros | None,
    until: Micros | None,
) -> Select[Any]:
    """Narrow a SELECT over a table with all dimensions to what the filter lets through, in these projects and times."""
    statement = statement.where(table.c.project_id.in_(project_ids))
    one_of = {
        "source": wanted.sources,
        "provider": wanted.providers,
        "model": wanted.models,
        "run_kind": wanted.kinds,
        "status": wanted.statuses,
    }
    for name, values in one_of.items():
        if values:
            statement = statement.where(table.c[name].in_(values))
    if wanted.by_call:
        if table is not usage_events:
            raise ValueError(f"{table.name} knows no users and no keys.")
        statement = statement.where(*_of_users_and_keys(wanted))
    if wanted.labels:
        statement = statement.where(*labelled(table.c.project_id, table.c[moment], wanted.labels))
    if since is not None:
        statement = statement.where(table.c[moment] >= since)
    if until is not None:
        statement = statement.where(table.c[moment] < until)
    return statement


def _of_users_and_keys(wanted: UsageFilter) -> Iterator[ColumnElement[bool]]:
    """The conditions on events, which alone know who started the run and which key paid."""
    event = usage_events.c
    if wanted.keys:
        yield func.coalesce(event.key_last4, literal_column("''")).in_(wanted.keys)
    if wanted.users:
        started_by = select(runs.c.started_by).where(
            runs.c.project_id == event.project_id, runs.c.run_id == event.run_id
        )
        yield func.coalesce(started_by.scalar_subquery(), literal_column("''")).in_(wanted.users)


@cache
def _values(table: Table) -> Mapping[str, ColumnElement[Any]]:
    """What one row adds to each sum of a roll-up."""
    if table is not usage_events:
        return {name: table.c[name] for name in MEASURES}
    return added_by_event()


def event_sums() -> Sequence[ColumnElement[Any]]:
    """All sums of ``Totals``, for a SELECT over usage events."""
    return _sums(usage_events, FIELDS)


@cache
def _sums(table: Table, names: tuple[str, ...]) -> Sequence[ColumnElement[Any]]:
    """Columns of the named sums of ``Totals``; kept, because building them takes longer than summing a month."""
    found = _added(table)
    return [func.coalesce(func.sum(found[name]), 0).label(name) for name in names]


@cache
def _added(table: Table) -> Mapping[str, ColumnElement[Any]]:
    """What one row adds to each sum of ``Totals``, in the order of its fields."""
    values, platform = _values(table), table.c.source == "platform"
    calls, unpriced, cost = values["calls"], values["unpriced_calls"], values["cost_nano"]
    return {
        "calls": calls,
        "platform_calls": case((platform, calls), else_=0),
        "byok_calls": case((platform, 0), else_=calls),
        **{f"{status}_calls": _of_status(table, status, calls) for status in FAILURES},
        "platform_unpriced_calls": case((platform, unpriced), else_=0),
        "byok_unpriced_calls": case((platform, 0), else_=unpriced),
        "platform_nano": case((platform, cost), else_=0),
        "byok_nano": case((platform, 0), else_=cost),
        **{name: values[name] for name in TOKENS},
    }


def _of_status(table: Table, status: str, calls: ColumnElement[Any]) -> ColumnElement[Any]:
    if f"{status}_calls" in table.c:
        return table.c[f"{status}_calls"]
    return case((table.c.status == status, calls), else_=0)


def sums_of(row: AnyRow) -> dict[str, int]:
    """The sums of a row, as ``Totals`` takes them."""
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal; every sum is a whole number.
    return dict(zip(FIELDS, map(int, row[-len(FIELDS) :]), strict=True))
