"""The SQL of the reports: which rows a filter lets through, and their sums from the table that answers a stretch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

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
)

from lib.access.roles import Action, Actor, allows
from lib.clock import Micros
from lib.db import AnyRow
from lib.db.tables import projects, usage_daily, usage_events, usage_hourly
from lib.errors import BadInput, ProjectUnknown
from lib.usage.figures import FIELDS, UsageFilter
from lib.usage.rollups import DIMENSIONS, QUARTER, SUMS, event_dimensions, event_sums
from lib.usage.segments import Segment


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


def sum_columns(column: Any) -> list[ColumnElement[Any]]:
    """The sums of ``Totals``, over columns named as in the roll-ups."""
    platform = column.source == "platform"

    def total(value: Any) -> ColumnElement[Any]:
        return func.coalesce(func.sum(value), 0)

    return [
        total(column.calls).label("calls"),
        total(case((platform, column.calls), else_=0)).label("platform_calls"),
        total(case((platform, 0), else_=column.calls)).label("byok_calls"),
        *(
            total(case((column.status == status, column.calls), else_=0)).label(f"{status}_calls")
            for status in ("error", "broken", "abandoned", "unknown")
        ),
        total(case((platform, column.unpriced_calls), else_=0)).label("platform_unpriced_calls"),
        total(case((platform, 0), else_=column.unpriced_calls)).label("byok_unpriced_calls"),
        total(case((platform, column.cost_nano), else_=0)).label("platform_nano"),
        total(case((platform, 0), else_=column.cost_nano)).label("byok_nano"),
        *(total(column[name]).label(name) for name in SUMS[3:]),
    ]


def sums_of(row: AnyRow) -> dict[str, int]:
    """The sums of a row of ``sum_columns``, as ``Totals`` takes them."""
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal; every sum is a whole number.
    return {name: int(getattr(row, name)) for name in FIELDS}
