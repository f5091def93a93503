"""Runs: what the agent does for a project, the calls it makes, and how it ends."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, or_, select, update

from lib.access.projects import Project, find
from lib.access.roles import Action, Actor, allows, require
from lib.clock import MINUTE, SECOND, Micros, from_micros
from lib.db import AnyRow, Database
from lib.db.tables import RUN_KINDS, open_calls, projects, provider_keys, run_log, runs, usage_events
from lib.errors import BadInput, CapExceeded, ProjectUnknown, RunEnded, RunUnknown, RunWaiting
from lib.usage.caps import account_of, admit, caps_of
from lib.usage.events import expire_calls, lose_runs, note, sweep

LEASE: Micros = 90 * SECOND
HEARTBEAT_SECONDS = 30
_CLAIM: Micros = 5 * MINUTE
_WAITS = {"scheduled", "pr_review"}
ENDINGS = ("passed", "failed", "error")


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
class CallRow:
    """One HTTP attempt of a run, as stored (see lib.db.tables.usage_events); running where it is open."""

    event_id: str
    occurred_at: Micros
    source: str
    model: str
    endpoint: str
    status: str
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_nano: int | None
    key_last4: str | None
    upstream_request_id: str | None
    latency_ms: int | None
    http_status: int | None
    error_code: str | None
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True)
class LogLine:
    """One line of a run's log: what happened besides the calls, and why."""

    at: Micros
    tag: str
    message: str


@dataclass(frozen=True)
class RunDetail:
    """A run with its calls (oldest first) and its log."""

    run: RunRow
    calls: list[CallRow]
    log: list[LogLine]


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


@dataclass(frozen=True)
class StartedRun:
    """What a worker holds of its run."""

    run_id: str
    project: str
    project_id: str = field(repr=False)
    kind: str
    token_budget: int | None


_RUN_COLUMNS = (
    runs.c.run_id,
    projects.c.slug.label("project"),
    *(runs.c[name] for name in RunRow.__dataclass_fields__ if name not in {"run_id", "project"}),
)
_RUNS = select(*_RUN_COLUMNS).join(projects, projects.c.id == runs.c.project_id)
_CALL_COLUMNS = tuple(usage_events.c[name] for name in CallRow.__dataclass_fields__)


class RunStore:
    """Start, end, list and show runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, slug: str, kind: str, *, actor: Actor, token_budget: int | None = None) -> StartedRun:
        """Begin a run.

        Raises:
            CapExceeded: a platform-funded chat or scan while the project is at its cap.
            RunWaiting: the same for a scheduled run or PR review, which now waits.
            ProjectUnknown, BadInput, Forbidden.
        """
        _require_valid(kind, token_budget)
        with self._database.write() as connection:
            project = find(connection, slug)
            require(actor, Action.MAKE_CALLS, project.id)
            now = self._database.now(connection)
            refusal = self._refusal(connection, project, now)
            run_id = f"r-{secrets.token_hex(5)}"
            waits = refusal is not None and kind in _WAITS and refusal.returns_at is not None
            status = "running" if refusal is None else "waiting" if waits else "refused"
            row = {
                "project_id": project.id,
                "run_id": run_id,
                "kind": kind,
                "status": status,
                "started_at": now,
                "started_by": actor.name,
                "ended_at": now if status == "refused" else None,
                "lease_until": now + LEASE if status == "running" else None,
                "token_budget": token_budget,
                "stopped_by": "cap" if status == "refused" else None,
            }
            connection.execute(insert(runs), row)
            if refusal is not None:
                self._put_off(connection, project, run_id, now, refusal, waits=waits)
        if refusal is not None:
            raise _waiting(run_id, refusal) if waits else refusal
        return StartedRun(run_id, slug, project.id, kind, token_budget)

    def resume(self, run_id: str, *, actor: Actor) -> StartedRun:
        """Go on with a waiting run. Raises RunWaiting again while there is still no room."""
        with self._database.write() as connection:
            row = _find_run(connection, run_id, lock=True)
            require(actor, Action.MAKE_CALLS, row.project_id)
            if row.status != "waiting":
                raise RunEnded(f"Run {run_id} does not wait: it is {row.status}.")
            project = find(connection, row.slug)
            now = self._database.now(connection)
            refusal = self._refusal(connection, project, now)
            if refusal is not None:
                self._put_off(connection, project, run_id, now, refusal, waits=True)
            else:
                values = {
                    "status": "running",
                    "lease_until": now + LEASE,
                    "resumes_at": None,
                    "claimed_until": None,
                }
                connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))
                note(
                    connection,
                    project.id,
                    run_id,
                    now,
                    "run:resumed",
                    "There is room again; the run goes on.",
                )
        if refusal is not None:
            raise _waiting(run_id, refusal)
        return StartedRun(run_id, row.slug, row.project_id, row.kind, row.token_budget)

    def due(self, *, actor: Actor, limit: int = 20) -> list[StartedRun]:
        """Claim waiting runs whose time has come; two callers never get the same one.

        A claim that is not followed by a resume within five minutes can be claimed again.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            statement = (
                select(runs.c.run_id, runs.c.project_id, runs.c.kind, runs.c.token_budget, projects.c.slug)
                .join(projects, projects.c.id == runs.c.project_id)
                .where(runs.c.status == "waiting", runs.c.resumes_at <= now)
                .where(or_(runs.c.claimed_until.is_(None), runs.c.claimed_until <= now))
                .order_by(runs.c.resumes_at, runs.c.run_id)
                .limit(limit)
                .with_for_update(skip_locked=True, of=runs)
            )
            rows = [
                row
                for row in connection.execute(statement)
                if allows(actor, Action.MAKE_CALLS, row.project_id)
            ]
            claimed = [row.run_id for row in rows]
            connection.execute(
                update(runs).where(runs.c.run_id.in_(claimed)).values(claimed_until=now + _CLAIM)
            )
        return [StartedRun(row.run_id, row.slug, row.project_id, row.kind, row.token_budget) for row in rows]

    def finish(self, run_id: str, status: str) -> str:
        """End a run; returns the status it ended with. Ending it again changes nothing.

        A run that was stopped by a cap or its budget ends ``budget_exceeded`` whatever it asks for.
        """
        if status not in ENDINGS:
            raise BadInput(f"A run ends {', '.join(ENDINGS)}; not {status[:20]!r}.")
        with self._database.write() as connection:
            row = _find_run(connection, run_id, lock=True)
            if row.ended_at is not None and row.status != "lost":
                return str(row.status)
            final = "budget_exceeded" if row.stopped_by else status
            connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id)
                .values(status=final, ended_at=self._database.now(connection), lease_until=None)
            )
        return final

    def keep_alive(self, run_ids: Sequence[str]) -> None:
        """Show a sign of life of the runs of this process."""
        with self._database.write(durable=False) as connection:
            now = self._database.now(connection)
            alive = and_(runs.c.run_id.in_(run_ids), runs.c.status.in_(("running", "lost")))
            connection.execute(
                update(runs).where(alive).values(lease_until=now + LEASE, status="running", ended_at=None)
            )

    def list(self, wanted: RunFilter, *, actor: Actor) -> tuple[list[RunRow], int]:
        """The newest runs that ``actor`` may see, and how many match in all."""
        sweep(self._database)
        with self._database.read() as connection:
            visible = _visible(connection, actor)
            statement = _filtered(_RUNS, wanted, visible)
            total = connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()
            page = statement.order_by(runs.c.started_at.desc(), runs.c.run_id).limit(wanted.limit)
            rows = connection.execute(page.offset(wanted.offset)).all()
        return [RunRow(**row._mapping) for row in rows], int(total)  # noqa: SLF001

    def show(self, run_id: str, *, actor: Actor) -> RunDetail:
        """One run with its calls and log. Raises RunUnknown also where ``actor`` may not know of it."""
        sweep(self._database)
        with self._database.read() as connection:
            found = _find_run(connection, run_id)
            if not allows(actor, Action.SEE_SPEND, found.project_id):
                raise RunUnknown
            row = connection.execute(_RUNS.where(runs.c.run_id == run_id)).one()
            calls = connection.execute(
                select(*_CALL_COLUMNS)
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
            RunRow(**row._mapping),  # noqa: SLF001
            [CallRow(**call._mapping) for call in calls] + [_running(call) for call in still_open],  # noqa: SLF001
            [LogLine(*line) for line in log],
        )

    def _refusal(self, connection: Connection, project: Project, now: Micros) -> CapExceeded | None:
        """Why a platform-funded run may not start now. Runs on the project's own key always may."""
        lose_runs(connection, now)
        account = account_of(connection, project.id, lock=True)
        if _has_own_key(connection, project.id):
            return None
        if expire_calls(connection, now, project.id):
            account = account_of(connection, project.id)
        try:
            admit(connection, account, caps_of(connection, project.id, now), 1, now, project.slug)
        except CapExceeded as refusal:
            return refusal
        return None

    def _put_off(
        self,
        connection: Connection,
        project: Project,
        run_id: str,
        now: Micros,
        refusal: CapExceeded,
        *,
        waits: bool,
    ) -> None:
        tag = "run:waiting" if waits else "cap:refused"
        note(connection, project.id, run_id, now, tag, refusal.sentence)
        if waits and refusal.returns_at is not None:
            resumes_at = _micros(refusal)
            connection.execute(
                update(runs).where(runs.c.run_id == run_id).values(resumes_at=resumes_at, claimed_until=None)
            )


def _require_valid(kind: str, token_budget: int | None) -> None:
    if kind not in RUN_KINDS:
        raise BadInput(f"A run's kind is one of {', '.join(RUN_KINDS)}.")
    if token_budget is not None and token_budget < 1:
        raise BadInput("A token budget is a whole number above 0.")


def _waiting(run_id: str, refusal: CapExceeded) -> RunWaiting:
    resumes_at = from_micros(_micros(refusal))
    return RunWaiting(f"{refusal.sentence} The run waits until then.", run_id=run_id, resumes_at=resumes_at)


def _micros(refusal: CapExceeded) -> Micros:
    from lib.clock import to_micros  # noqa: PLC0415

    assert refusal.returns_at is not None  # noqa: S101 - a call of one nano-USD fits some time
    return to_micros(refusal.returns_at)


def _has_own_key(connection: Connection, project_id: str) -> bool:
    statement = select(provider_keys.c.version).where(
        provider_keys.c.project_id == project_id, provider_keys.c.ended_at.is_(None)
    )
    return connection.execute(statement.limit(1)).first() is not None


def _find_run(connection: Connection, run_id: str, *, lock: bool = False) -> AnyRow:
    statement = (
        select(runs, projects.c.slug)
        .join(projects, projects.c.id == runs.c.project_id)
        .where(runs.c.run_id == run_id)
    )
    row = connection.execute(statement.with_for_update(of=runs) if lock else statement).first()
    if row is None:
        raise RunUnknown
    return row


def _visible(connection: Connection, actor: Actor) -> dict[str, str]:
    rows = connection.execute(select(projects.c.slug, projects.c.id))
    return {row.slug: row.id for row in rows if allows(actor, Action.SEE_SPEND, row.id)}


def _filtered(statement: Select[Any], wanted: RunFilter, visible: dict[str, str]) -> Select[Any]:
    unknown = [slug for slug in wanted.projects if slug not in visible]
    if unknown:
        raise ProjectUnknown(unknown[0])
    ids = [visible[slug] for slug in wanted.projects or visible]
    statement = statement.where(runs.c.project_id.in_(ids))
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
    if wanted.search.strip():
        statement = statement.where(_matches(wanted.search.strip()))
    return statement


def _matches(text: str) -> Any:
    by_request = (
        select(usage_events.c.event_id)
        .where(
            usage_events.c.project_id == runs.c.project_id,
            usage_events.c.run_id == runs.c.run_id,
            usage_events.c.upstream_request_id.startswith(text, autoescape=True),
        )
        .exists()
    )
    return or_(runs.c.run_id.startswith(text, autoescape=True), by_request)


def _running(call: AnyRow) -> CallRow:
    return CallRow(
        event_id=call.event_id,
        occurred_at=call.opened_at,
        source=call.source,
        model=call.model,
        endpoint=call.endpoint,
        status="running",
        input_tokens=None,
        cached_input_tokens=None,
        output_tokens=None,
        reasoning_tokens=None,
        cost_nano=None,
        key_last4=call.key_last4,
        upstream_request_id=None,
        latency_ms=None,
        http_status=None,
        error_code=None,
        error_type=None,
        error_message=None,
    )
