"""The run log: runs, their calls and what happened besides, for those who may see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, func, select, union

from lib.access.projects import visible_ids
from lib.access.roles import Action, Actor, allows
from lib.clock import DAY, Micros
from lib.db import AnyRow, Database
from lib.db.prefix import begins_with
from lib.db.tables import open_calls, projects, run_log, runs, usage_events
from lib.errors import RunUnknown
from lib.usage.event_row import EventRow
from lib.usage.expiry import sweep


@dataclass(frozen=True)
class RunRow:
    """A run as lists show it. Money in nano-USD, times in microseconds."""

    run_id: str
    project: str
    kind: str
    status: str
    started_at: Micros
    started_by: str
    ended_at: Micros | None
    resumes_at: Micros | None
    token_budget: int | None
    budget_warned_at: Micros | None
    stopped_by: str | None
    calls: int
    failed_calls: int
    unpriced_calls: int
    tokens: int
    platform_nano: int
    byok_nano: int
    platform_calls: int
    byok_calls: int
    last4: str | None

    @property
    def source(self) -> str | None:
        """Who paid: platform, byok, both, or None where no call was made."""
        if self.platform_calls and self.byok_calls:
            return "both"
        return "byok" if self.byok_calls else "platform" if self.platform_calls else None


@dataclass(frozen=True)
class LogLine:
    """One line of a run's log: what happened besides the calls, and why."""

    at: Micros
    tag: str
    message: str


@dataclass(frozen=True)
class RunDetail:
    """A run with its calls (oldest first; ``running`` where one is open) and its log."""

    run: RunRow
    calls: list[EventRow]
    log: list[LogLine]

    @property
    def archived_calls(self) -> int:
        """How many of its calls are in the files of an archive only; its sums hold them."""
        return max(0, self.run.calls - sum(call.status != "running" for call in self.calls))


@dataclass(frozen=True)
class RunFilter:
    """Which runs to list. Empty means all. Times in microseconds, ``since`` inclusive, ``until`` exclusive."""

    projects: Sequence[str] = ()
    kinds: Sequence[str] = ()
    statuses: Sequence[str] = ()
    source: str | None = None
    since: Micros | None = None
    until: Micros | None = None
    search: str = ""
    """A run id, or a provider's request id, or the beginning of one."""
    limit: int = 20
    offset: int = 0


_RUN_COLUMNS = (
    runs.c.run_id,
    projects.c.slug.label("project"),
    *(runs.c[name] for name in RunRow.__dataclass_fields__ if name not in {"run_id", "project"}),
)
_RUNS = select(*_RUN_COLUMNS).join(projects, projects.c.id == runs.c.project_id)
_OPEN = frozenset({"running", "waiting"})
_REACHES = (DAY, 8 * DAY, 64 * DAY)


class RunLog:
    """List and show runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, wanted: RunFilter, *, actor: Actor) -> tuple[list[RunRow], int]:
        """The newest runs that ``actor`` may see, and how many match in all."""
        with self._seen(wanted, actor) as (connection, ids):
            total = _number(connection, wanted, ids)
            rows = _newest(connection, wanted, ids, self._database.now(connection)) if total else []
        return rows, total

    def latest(self, wanted: RunFilter, *, actor: Actor) -> RunRow | None:
        """The newest run alone, which takes no look at all the others."""
        with self._seen(wanted, actor) as (connection, ids):
            rows = _newest(connection, replace(wanted, limit=1), ids, self._database.now(connection))
        return rows[0] if rows else None

    def number(self, wanted: RunFilter, *, actor: Actor) -> int:
        """How many runs match."""
        with self._seen(wanted, actor) as (connection, ids):
            return _number(connection, wanted, ids)

    @contextmanager
    def _seen(self, wanted: RunFilter, actor: Actor) -> Iterator[tuple[Connection, Sequence[str]]]:
        """A read, and the projects in which ``actor`` may see what is wanted."""
        sweep(self._database)
        with self._database.read() as connection:
            yield connection, visible_ids(connection, actor, wanted.projects)

    def show(self, run_id: str, *, actor: Actor) -> RunDetail:
        """One run with its calls and log. Raises RunUnknown also where ``actor`` may not know of it."""
        sweep(self._database)
        with self._database.read() as connection:
            found = connection.execute(
                _RUNS.add_columns(runs.c.project_id).where(runs.c.run_id == run_id)
            ).first()
            if found is None or not allows(actor, Action.SEE_SPEND, found.project_id):
                raise RunUnknown
            calls = connection.execute(
                select(usage_events)
                .where(usage_events.c.project_id == found.project_id, usage_events.c.run_id == run_id)
                .order_by(usage_events.c.occurred_at, usage_events.c.event_id)
            ).all()
            still_open = connection.execute(
                select(open_calls).where(
                    open_calls.c.project_id == found.project_id, open_calls.c.run_id == run_id
                )
            ).all()
            log = connection.execute(
                select(run_log.c.at, run_log.c.tag, run_log.c.message)
                .where(run_log.c.project_id == found.project_id, run_log.c.run_id == run_id)
                .order_by(run_log.c.id)
            ).all()
        return RunDetail(
            RunRow(**{name: found._mapping[name] for name in RunRow.__dataclass_fields__}),  # noqa: SLF001
            [EventRow(**call._mapping) for call in calls] + [_running(call) for call in still_open],  # noqa: SLF001
            [LogLine(*line) for line in log],
        )


def _newest(
    connection: Connection, wanted: RunFilter, project_ids: Sequence[str], now: Micros
) -> list[RunRow]:
    """The page that is asked for, from as little of history as holds it: all of it would be sorted."""
    page = _filtered(_RUNS, wanted, project_ids).order_by(runs.c.started_at.desc(), runs.c.run_id)
    page = page.limit(wanted.limit).offset(wanted.offset)
    until = now if wanted.until is None else wanted.until
    for reach in _REACHES:
        rows = _rows(connection, page.where(runs.c.started_at >= until - reach))
        if len(rows) == wanted.limit:
            return rows
    return _rows(connection, page)


def _rows(connection: Connection, page: Select[Any]) -> list[RunRow]:
    return [RunRow(**row._mapping) for row in connection.execute(page)]  # noqa: SLF001


def _number(connection: Connection, wanted: RunFilter, project_ids: Sequence[str]) -> int:
    found = _filtered(select(func.count()).select_from(runs), wanted, project_ids)
    return int(connection.execute(found).scalar_one())


def _filtered(statement: Select[Any], wanted: RunFilter, project_ids: Sequence[str]) -> Select[Any]:
    search, only_open = wanted.search.strip(), bool(wanted.statuses) and _OPEN.issuperset(wanted.statuses)
    mine: ColumnElement[Any] = runs.c.project_id
    if search or only_open:
        # Few are open or are found, and there are indexes of them; but SQLite would take the one of the projects.
        mine = runs.c.project_id.concat("")
    statement = statement.where(mine.in_(project_ids))
    if only_open:
        statement = statement.where(runs.c.ended_at.is_(None))
    if wanted.kinds:
        statement = statement.where(runs.c.kind.in_(wanted.kinds))
    if wanted.statuses:
        statement = statement.where(runs.c.status.in_(wanted.statuses))
    if wanted.source:
        statement = statement.where(
            (runs.c.byok_calls if wanted.source == "byok" else runs.c.platform_calls) > 0
        )
    if wanted.since is not None:
        statement = statement.where(runs.c.started_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(runs.c.started_at < wanted.until)
    return statement.where(runs.c.run_id.in_(_found(search, project_ids))) if search else statement


def _found(search: str, project_ids: Sequence[str]) -> CompoundSelect[Any]:
    """Ids of the runs that are named so, or that made a request named so. Imported calls name foreign runs."""
    event = usage_events.c
    same = (event.project_id == runs.c.project_id) & (event.run_id == runs.c.run_id)
    by_request = select(runs.c.run_id).join_from(usage_events, runs, same)
    return union(
        select(runs.c.run_id).where(begins_with(runs.c.run_id, search)),
        by_request.where(event.project_id.in_(project_ids), begins_with(event.upstream_request_id, search)),
    )


def _running(call: AnyRow) -> EventRow:
    return EventRow(
        project_id=call.project_id,
        event_id=call.event_id,
        occurred_at=call.opened_at,
        source=call.source,
        provider=call.provider,
        model=call.model,
        endpoint=call.endpoint,
        status="running",
        key_last4=call.key_last4,
    )
