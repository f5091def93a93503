"""What single calls say, which no roll-up can: the spread of tokens and latency, the costliest calls and runs.

They are read from the events, so how many is bounded: the latest calls of the chosen projects, cut at a whole
hour so that about ``MOST`` calls are looked at, however long the history. Of a quieter project that is the
whole period. What was looked at is part of the answer, so that a page can say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from lib.access.roles import Actor
from lib.clock import DAY, HOUR, Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, runs, usage_events, usage_hourly
from lib.errors import BadInput
from lib.usage.events import sweep
from lib.usage.figures import UsageFilter
from lib.usage.summing import matching, visible_ids

MOST = 4_000
"""Calls that are looked at; more only where a single hour has more."""

_SHOWN = 10
_REACH = (DAY, 8 * DAY, 64 * DAY)


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile by nearest rank: values that occurred. None where no call has one."""

    calls: int = 0
    median: int | None = None
    p95: int | None = None


@dataclass(frozen=True)
class CostlyCall:
    """One call and what it cost, nano-USD; ``run_id`` where its run is in the run log."""

    occurred_at: Micros
    project: str
    run_id: str | None
    source: str
    model: str
    status: str
    tokens: int | None
    latency_ms: int | None
    cost_nano: int


@dataclass(frozen=True)
class CostlyRun:
    """One run, and what those of its calls cost that match, nano-USD by source."""

    run_id: str
    project: str
    kind: str
    status: str
    started_at: Micros
    calls: int
    platform_nano: int
    byok_nano: int


@dataclass(frozen=True)
class LatestCalls:
    """What the latest calls say. ``since``: none before it was looked at; ``whole``: that is the whole period."""

    since: Micros
    whole: bool
    calls: int
    spreads: dict[str, Spread]
    """Of the ``tokens`` of a call, input and output, and of its ``latency`` in milliseconds."""
    costliest_calls: list[CostlyCall]
    costliest_runs: list[CostlyRun]


class CallReports:
    """Reports over single calls, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, wanted: UsageFilter, *, actor: Actor) -> LatestCalls:
        """What the latest calls that match say. Needs a period with a beginning and an end."""
        if wanted.since is None or wanted.until is None:
            raise BadInput("The latest calls need a period with a beginning and an end.")
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, wanted.projects, sample=wanted.sample)
            since = _cut(connection, ids, wanted.since, wanted.until)
            found = _found(wanted, ids, since)
            spreads = {row.what: _spread(row) for row in connection.execute(_spreads(found))}
            return LatestCalls(
                since=since,
                whole=since == wanted.since,
                calls=connection.execute(select(func.count()).select_from(found)).scalar_one(),
                spreads={what: spreads.get(what, Spread()) for what in _measures(found.c)},
                costliest_calls=[CostlyCall(**row._mapping) for row in connection.execute(_calls(found))],  # noqa: SLF001
                costliest_runs=[_run(row) for row in connection.execute(_runs(found))],
            )


def _cut(connection: Connection, ids: Sequence[str], since: Micros, until: Micros) -> Micros:
    """The hour from which on there are at most ``MOST`` calls, or one hour of more; ``since`` if there are fewer.

    The counts are those of the hourly roll-up, of further and further back until there are enough.
    """
    hour = usage_hourly.c.hour_at
    for reach in (*_REACH, until - since):
        first = max(since, until - reach)
        counts = (
            select(hour, func.sum(usage_hourly.c.calls).label("calls"))
            .where(usage_hourly.c.project_id.in_(ids), hour >= first - first % HOUR, hour < until)
            .group_by(hour)
            .order_by(hour.desc())
        )
        looked_at = 0
        for row in connection.execute(counts):
            if looked_at and looked_at + row.calls > MOST:
                return max(since, int(row.hour_at) + HOUR)
            looked_at += int(row.calls)
        if first == since:
            break
    return since


def _found(wanted: UsageFilter, ids: Sequence[str], since: Micros) -> CTE:
    """The calls that match, and what is shown of them."""
    event = usage_events.c
    kept = [event[name] for name in CostlyCall.__dataclass_fields__ if name not in {"project", "tokens"}]
    tokens = (event.input_tokens + event.output_tokens).label("tokens")
    columns = [event.project_id, event.event_id, event.input_tokens, event.output_tokens, tokens, *kept]
    found = matching(select(*columns), replace(wanted, since=since), ids).cte("found")
    # Otherwise SQLite groups by way of the index of runs, and reads all of history for it.
    return found.prefix_with("MATERIALIZED")


def _measures(call: Any) -> dict[str, ColumnElement[int]]:
    return {"tokens": call.input_tokens + call.output_tokens, "latency": call.latency_ms}


def _spreads(found: CTE) -> Select[Any]:
    """For each measure the values at the ranks of median and 95th percentile, of the calls that have one."""
    each = union_all(
        *(
            select(literal_column(f"'{what}'").label("what"), value.label("value")).where(value.is_not(None))
            for what, value in _measures(found.c).items()
        )
    ).subquery()
    ranked = select(
        each,
        func.row_number().over(partition_by=each.c.what, order_by=each.c.value).label("rank"),
        func.count().over(partition_by=each.c.what).label("calls"),
    ).subquery()
    rank, calls, value = ranked.c.rank, ranked.c.calls, ranked.c.value
    return select(
        ranked.c.what,
        func.max(calls).label("calls"),
        func.min(case((100 * rank >= 50 * calls, value))).label("median"),
        func.min(case((100 * rank >= 95 * calls, value))).label("p95"),
    ).group_by(ranked.c.what)


def _spread(row: AnyRow) -> Spread:
    return Spread(int(row.calls), int(row.median), int(row.p95))


def _calls(found: CTE) -> Select[Any]:
    """The costliest calls with a known cost, the latest first among equals."""
    call = found.c
    kept = [call[name] for name in CostlyCall.__dataclass_fields__ if name not in {"project", "run_id"}]
    in_log = (runs.c.project_id == call.project_id) & (runs.c.run_id == call.run_id)
    return (
        select(projects.c.slug.label("project"), runs.c.run_id, *kept)
        .join(projects, projects.c.id == call.project_id)
        .outerjoin(runs, in_log)
        .where(call.cost_nano.is_not(None))
        .order_by(call.cost_nano.desc(), call.occurred_at.desc(), call.event_id)
        .limit(_SHOWN)
    )


def _runs(found: CTE) -> Select[Any]:
    """The runs of the run log whose matching calls cost most together."""
    call = found.c
    platform = call.source == "platform"
    cost = func.sum(call.cost_nano)
    sums = (
        select(
            call.project_id,
            call.run_id,
            func.count().label("calls"),
            func.coalesce(func.sum(case((platform, call.cost_nano), else_=0)), 0).label("platform_nano"),
            func.coalesce(func.sum(case((platform, 0), else_=call.cost_nano)), 0).label("byok_nano"),
            cost.label("cost"),
        )
        .where(call.run_id.is_not(None))
        .group_by(call.project_id, call.run_id)
        .having(cost.is_not(None))
        .subquery()
    )
    in_log = (runs.c.project_id == sums.c.project_id) & (runs.c.run_id == sums.c.run_id)
    summed = [sums.c[name] for name in ("calls", "platform_nano", "byok_nano")]
    return (
        select(
            runs.c.run_id,
            projects.c.slug.label("project"),
            runs.c.kind,
            runs.c.status,
            runs.c.started_at,
            *summed,
        )
        .join(runs, in_log)
        .join(projects, projects.c.id == sums.c.project_id)
        .order_by(sums.c.cost.desc(), runs.c.started_at.desc(), runs.c.run_id)
        .limit(_SHOWN)
    )


def _run(row: AnyRow) -> CostlyRun:
    # PostgreSQL sums BIGINT as NUMERIC.
    sums = {name: int(getattr(row, name)) for name in ("calls", "platform_nano", "byok_nano")}
    return CostlyRun(**{**row._mapping, **sums})  # noqa: SLF001
