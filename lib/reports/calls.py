"""What single calls say, which no roll-up can: the costliest calls and runs.

They are read from the events, so how many is bounded: the latest calls of the chosen projects, cut at a whole
hour so that about ``MOST`` calls are looked at, however long the history. Of a quieter project that is the
whole period. What was looked at is part of the answer, so that a page can say it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import nlargest, nsmallest
from operator import itemgetter

from sqlalchemy import Connection, func, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.clock import DAY, HOUR, Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, runs, usage_events, usage_hourly_totals
from lib.errors import BadInput
from lib.reports.models import UsageFilter
from lib.reports.queries import matching
from lib.usage.expiry import sweep

MOST = 4_000
"""Calls that are looked at; more only where a single hour has more."""

_SHOWN = 10
_LOOKED_UP = 100
_REACH = (DAY, 8 * DAY, 64 * DAY)


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
    """One run, and what those of its calls cost that match, nano-USD by source; ``source``: platform, byok or both."""

    run_id: str
    project: str
    kind: str
    status: str
    started_at: Micros
    calls: int
    source: str
    platform_nano: int
    byok_nano: int


@dataclass(frozen=True)
class LatestCalls:
    """What the latest calls say. ``since``: none before it was looked at; ``whole``: that is the whole period."""

    since: Micros
    whole: bool
    calls: int
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
            ids = visible_ids(connection, actor, wanted.projects)
            since = _cut(connection, ids, wanted.since, wanted.until)
            look = _Look()
            statement = matching(select(*_COLUMNS), replace(wanted, since=since), ids)
            for calls in connection.execution_options(yield_per=MOST).execute(statement).partitions():
                look.add(calls)
            return LatestCalls(
                since=since,
                whole=since == wanted.since,
                calls=look.calls,
                costliest_calls=_costliest_calls(connection, look.costliest),
                costliest_runs=_costliest_runs(connection, look.runs),
            )


def _cut(connection: Connection, ids: Sequence[str], since: Micros, until: Micros) -> Micros:
    """The hour from which on there are at most ``MOST`` calls, or one hour of more; ``since`` if there are fewer.

    The counts are those of the hourly roll-up, of further and further back until there are enough.
    """
    hour = usage_hourly_totals.c.hour_at
    for reach in (*_REACH, until - since):
        first = max(since, until - reach)
        counts = (
            select(hour, func.sum(usage_hourly_totals.c.calls).label("calls"))
            .where(usage_hourly_totals.c.project_id.in_(ids), hour >= first - first % HOUR, hour < until)
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


# --- one by one ------------------------------------------------------------------------------------

_COLUMNS = [
    usage_events.c[name]
    for name in (
        *("project_id", "run_id", "source", "cost_nano", "input_tokens", "output_tokens", "latency_ms"),
        *("event_id", "occurred_at", "model", "status"),
    )
]
_COST = 3
RunKey = tuple[str, str]  # project's id, run


@dataclass
class _RunSums:
    calls: int = 0
    platform_nano: int = 0
    byok_nano: int = 0
    priced: bool = False
    sources: set[str] = field(default_factory=set)

    @property
    def cost_nano(self) -> int:
        return self.platform_nano + self.byok_nano

    @property
    def source(self) -> str:
        """Who paid, be it nothing: a call that was free, or refused, was on somebody's key as well."""
        return next(iter(self.sources)) if len(self.sources) == 1 else "both"

    def add(self, source: str, cost_nano: int | None) -> None:
        self.calls += 1
        self.sources.add(source)
        if cost_nano is not None:
            self.priced = True
            if source == "platform":
                self.platform_nano += cost_nano
            else:
                self.byok_nano += cost_nano


@dataclass
class _Look:
    """What is kept of the calls while they go by: numbers, and few of the calls themselves."""

    calls: int = 0
    costliest: list[AnyRow] = field(default_factory=list)
    runs: dict[RunKey, _RunSums] = field(default_factory=lambda: defaultdict(_RunSums))

    def add(self, calls: Sequence[AnyRow]) -> None:
        self.calls += len(calls)
        for project_id, run_id, source, cost_nano, *_ in calls:
            if run_id is not None:
                self.runs[project_id, run_id].add(source, cost_nano)
        priced = [call for call in calls if call[_COST] is not None]
        least = min(nlargest(_SHOWN, map(itemgetter(_COST), priced)), default=0)
        found = [call for call in priced if call[_COST] >= least]  # few, so that few need be compared in full
        self.costliest = nsmallest(_SHOWN, [*self.costliest, *found], key=_costlier)


def _costlier(call: AnyRow) -> tuple[int, int, str]:
    """The costliest first, the latest first among equals."""
    return -call.cost_nano, -call.occurred_at, call.event_id


def _costliest_calls(connection: Connection, found: Sequence[AnyRow]) -> list[CostlyCall]:
    logged = _logged(connection, [(call.project_id, call.run_id) for call in found if call.run_id])
    slugs = _slugs(connection, {call.project_id for call in found})
    return [
        CostlyCall(
            occurred_at=call.occurred_at,
            project=slugs[call.project_id],
            run_id=call.run_id if (call.project_id, call.run_id) in logged else None,
            source=call.source,
            model=call.model,
            status=call.status,
            tokens=_tokens(call),
            latency_ms=call.latency_ms,
            cost_nano=call.cost_nano,
        )
        for call in found
    ]


def _tokens(call: AnyRow) -> int | None:
    if call.input_tokens is None or call.output_tokens is None:
        return None
    return int(call.input_tokens + call.output_tokens)


def _costliest_runs(connection: Connection, sums: dict[RunKey, _RunSums]) -> list[CostlyRun]:
    """The costliest runs of the run log, the latest first among equals; runs of imported calls are not in it."""
    ranked = sorted((key for key in sums if sums[key].priced), key=lambda key: -sums[key].cost_nano)
    found: list[tuple[RunKey, AnyRow]] = []
    for start in range(0, len(ranked), _LOOKED_UP):
        some = ranked[start : start + _LOOKED_UP]
        if len(found) >= _SHOWN and sums[some[0]].cost_nano < sums[found[_SHOWN - 1][0]].cost_nano:
            break
        found += _logged(connection, some).items()
        found.sort(key=lambda each: (-sums[each[0]].cost_nano, -each[1].started_at, each[0][1]))
    slugs = _slugs(connection, {project_id for (project_id, _), _ in found[:_SHOWN]})
    return [_costly_run(sums[key], run, slugs[key[0]]) for key, run in found[:_SHOWN]]


def _costly_run(sums: _RunSums, run: AnyRow, slug: str) -> CostlyRun:
    return CostlyRun(
        run_id=run.run_id,
        project=slug,
        kind=run.kind,
        status=run.status,
        started_at=run.started_at,
        calls=sums.calls,
        source=sums.source,
        platform_nano=sums.platform_nano,
        byok_nano=sums.byok_nano,
    )


def _logged(connection: Connection, keys: Sequence[RunKey]) -> dict[RunKey, AnyRow]:
    """The runs that the run log has."""
    columns = [runs.c[name] for name in ("project_id", "run_id", "kind", "status", "started_at")]
    statement = select(*columns).where(runs.c.run_id.in_([run_id for _, run_id in keys]))
    found = {(row.project_id, row.run_id): row for row in connection.execute(statement)}
    return {key: found[key] for key in keys if key in found}


def _slugs(connection: Connection, ids: set[str]) -> dict[str, str]:
    found = connection.execute(select(projects.c.id, projects.c.slug).where(projects.c.id.in_(ids)))
    return {row.id: row.slug for row in found}
