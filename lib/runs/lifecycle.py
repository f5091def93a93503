"""Runs: what the agent does for a project. How they start, wait, go on and end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from lib.access.audit import Subject
from lib.access.denied_attempts import denials_logged
from lib.access.projects import find_for
from lib.access.roles import Action, Actor, allows, require
from lib.caps.admission import require_headroom
from lib.caps.cap_state import CapState, cap_snapshot, cap_snapshot_to_write
from lib.clock import MINUTE, SECOND, Micros, from_micros, to_micros
from lib.db import AnyRow, Database
from lib.db.tables import RUN_KINDS, projects, provider_keys, runs
from lib.errors import BadInput, CapExceeded, ProjectArchived, RunEnded, RunUnknown, RunWaiting
from lib.usage.events import log_line
from lib.usage.expiry import expire_calls

LEASE: Micros = 90 * SECOND
HEARTBEAT_SECONDS = 30
_CLAIM: Micros = 5 * MINUTE
_LARGEST_BUDGET = 2**53
WAITS = {"scheduled", "pr_review"}
"""Kinds that wait for room at a cap; the others are refused."""
ENDINGS = ("passed", "failed", "error")
_WAITING_PROJECTS = (
    select(runs.c.project_id).where(runs.c.status == "waiting", runs.c.ended_at.is_(None)).distinct()
)


@dataclass(frozen=True)
class StartedRun:
    """What a worker holds of its run."""

    run_id: str
    project: str
    project_id: str = field(repr=False)
    kind: str
    token_budget: int | None


Refused: TypeAlias = Callable[[Connection, Subject, Micros, CapExceeded], None]
"""Told of a run that a cap has refused, in its transaction (lib.alerts does, a room above this one)."""


class RunStore:
    """Start, resume, claim and end runs; ``refused`` is told of what a cap refuses at its start."""

    def __init__(self, database: Database, refused: Refused | None = None) -> None:
        self._database = database
        self._refused = refused

    def start(self, slug: str, kind: str, *, actor: Actor, token_budget: int | None = None) -> StartedRun:
        """Begin a run.

        Raises:
            CapExceeded: a platform-funded chat or scan while the project is at its cap.
            RunWaiting: the same for a scheduled run or PR review, which now waits.
            ProjectArchived: it takes no runs until somebody restores it.
            ProjectUnknown, BadInput, Forbidden.
        """
        _require_valid(kind, token_budget)
        with denials_logged(self._database, actor, "start a run", slug), self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.MAKE_CALLS)
        if project.archived_at is not None:
            raise ProjectArchived(slug)
        expire_calls(self._database, project.id)
        with self._database.write() as connection:
            now = self._database.now(connection)
            refusal = _refusal(connection, project.id, now, cap_snapshot_to_write)
            run_id = f"r-{secrets.token_hex(8)}"
            waits = refusal is not None and kind in WAITS and refusal.returns_at is not None
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
                _put_off(connection, project.id, run_id, now, refusal, waits=waits)
                if self._refused is not None:
                    self._refused(connection, project.subject, now, refusal)
        if refusal is not None:
            raise _waiting(run_id, refusal) if waits else refusal
        return StartedRun(run_id, slug, project.id, kind, token_budget)

    def resume(self, run_id: str, *, actor: Actor, slug: str | None = None) -> StartedRun:
        """Go on with a waiting run.

        Args:
            run_id: which one.
            actor: for whom.
            slug: the project that the caller remembers it to be of.

        Raises:
            RunUnknown: there is none, or ``actor`` may not know of it, or it is of another project.
            Forbidden: ``actor`` may know of it, but not make its calls.
            RunWaiting: there is still no room; it goes on waiting.
            CapExceeded: there will never be room: the caps are 0 by now. The run has ended.
            RunEnded: it does not wait (any more).
            ProjectArchived: it waits until somebody restores its project.
        """
        with self._database.read() as connection:
            found = _find_run(connection, run_id)
        project_id: str = found.project_id
        if not allows(actor, Action.SEE_SPEND, project_id) or slug not in {None, found.slug}:
            raise RunUnknown
        with denials_logged(self._database, actor, "go on with a run", found.slug):
            require(actor, Action.MAKE_CALLS, project_id)
        if found.archived_at is not None:
            raise ProjectArchived(found.slug)
        expire_calls(self._database, project_id)
        with self._database.write() as connection:
            row = _find_run(connection, run_id, project_id, lock=True)
            if row.status != "waiting":
                raise RunEnded(f"Run {run_id} does not wait: it is {row.status}.")
            now = self._database.now(connection)
            refusal = _refusal(connection, project_id, now, cap_snapshot_to_write)
            waits = refusal is not None and refusal.returns_at is not None
            if refusal is not None:
                _put_off(connection, project_id, run_id, now, refusal, waits=waits)
            else:
                _go_on(connection, project_id, run_id, now)
        if refusal is not None:
            raise _waiting(run_id, refusal) if waits else refusal
        return StartedRun(run_id, row.slug, row.project_id, row.kind, row.token_budget)

    def due(self, *, actor: Actor, limit: int = 20) -> list[StartedRun]:
        """Claim waiting runs whose time has come; two callers never get the same one.

        The time has also come where room is back sooner than was promised: calls cost less than they had
        reserved, the caps were raised, or the project has a key of its own by now.
        A claim that is not followed by a resume within five minutes can be claimed again.
        """
        with self._database.read() as connection:
            now = self._database.now(connection)
            waiting = connection.execute(_WAITING_PROJECTS).scalars().all()
            mine = [project_id for project_id in waiting if allows(actor, Action.MAKE_CALLS, project_id)]
            ready = [project_id for project_id in mine if _refusal(connection, project_id, now) is None]
        if not mine:
            return []
        claimed: list[AnyRow] = []
        with self._database.write() as connection:
            now = self._database.now(connection)
            statement = (
                select(runs.c.run_id, runs.c.project_id, runs.c.kind, runs.c.token_budget, projects.c.slug)
                .join(projects, projects.c.id == runs.c.project_id)
                .where(projects.c.archived_at.is_(None))
                .where(_waits(now), runs.c.project_id.in_(mine))
                .where(or_(runs.c.resumes_at <= now, runs.c.project_id.in_(ready)))
                .order_by(runs.c.resumes_at, runs.c.run_id)
            )
            # Each is claimed by itself, in one order. What another caller claims meanwhile is left out of the next look.
            while found := connection.execute(statement.limit(limit - len(claimed))).all():
                claimed += [row for row in found if _claim(connection, row, now)]
                if len(claimed) == limit:
                    break
        return [
            StartedRun(row.run_id, row.slug, row.project_id, row.kind, row.token_budget) for row in claimed
        ]

    def finish(self, run: StartedRun, status: str) -> str:
        """End a run; returns the status it ended with. Ending it again changes nothing.

        A run that was stopped by a cap or its budget ends ``budget_exceeded`` whatever it asks for.
        """
        require_ending(status)
        with self._database.write() as connection:
            row = _find_run(connection, run.run_id, run.project_id, lock=True)
            if row.ended_at is not None and row.status != "lost":
                return str(row.status)
            final = "budget_exceeded" if row.stopped_by else status
            connection.execute(
                update(runs)
                .where(_one(run))
                .values(status=final, ended_at=self._database.now(connection), lease_until=None)
            )
        return final

    def keep_alive(self, alive: Sequence[StartedRun]) -> None:
        """Send a heartbeat of the runs of this process, each by itself: they may be of several projects."""
        for run in alive:
            with self._database.write(durable=False) as connection:
                now = self._database.now(connection)
                connection.execute(
                    update(runs)
                    .where(_one(run), runs.c.status.in_(("running", "lost")))
                    .values(lease_until=now + LEASE, status="running", ended_at=None)
                )


def _waits(now: Micros) -> ColumnElement[bool]:
    """A waiting run that no other caller has claimed."""
    claimable = or_(runs.c.claimed_until.is_(None), runs.c.claimed_until <= now)
    return and_(runs.c.status == "waiting", runs.c.ended_at.is_(None), claimable)


def _claim(connection: Connection, row: AnyRow, now: Micros) -> bool:
    """Whether it is the caller's: another one may have claimed it since it was seen."""
    claim = update(runs).where(_one(row), _waits(now)).values(claimed_until=now + _CLAIM)
    return bool(connection.execute(claim).rowcount)


def require_ending(status: str) -> None:
    """Return if a run can be told to end like that. Raises BadInput."""
    if status not in ENDINGS:
        raise BadInput(f"A run ends {', '.join(ENDINGS)}; not {status[:20]!r}.")


def _refusal(
    connection: Connection,
    project_id: str,
    now: Micros,
    look: Callable[[Connection, str, Micros], CapState] = cap_snapshot,
) -> CapExceeded | None:
    """Why a platform-funded run may not start now. Runs on the project's own key always may.

    Takes no lock: a look, which the run's calls take again for themselves.
    """
    if _has_own_key(connection, project_id):
        return None
    try:
        require_headroom(connection, look(connection, project_id, now), 1)
    except CapExceeded as refusal:
        return refusal
    return None


def _require_valid(kind: str, token_budget: int | None) -> None:
    if kind not in RUN_KINDS:
        raise BadInput(f"A run's kind is one of {', '.join(RUN_KINDS)}.")
    if token_budget is not None and not (type(token_budget) is int and 0 < token_budget < _LARGEST_BUDGET):
        raise BadInput(f"A token budget is a whole number above 0 and below {_LARGEST_BUDGET:,}.")


def _waiting(run_id: str, refusal: CapExceeded) -> RunWaiting:
    resumes_at = from_micros(_micros(refusal))
    return RunWaiting(f"{refusal.sentence} The run waits until then.", run_id=run_id, resumes_at=resumes_at)


def _micros(refusal: CapExceeded) -> Micros:
    assert refusal.returns_at is not None  # noqa: S101 - a call of one nano-USD fits some time
    return to_micros(refusal.returns_at)


def _has_own_key(connection: Connection, project_id: str) -> bool:
    statement = select(provider_keys.c.version).where(
        provider_keys.c.project_id == project_id, provider_keys.c.ended_at.is_(None)
    )
    return connection.execute(statement.limit(1)).first() is not None


def _go_on(connection: Connection, project_id: str, run_id: str, now: Micros) -> None:
    values = {"status": "running", "lease_until": now + LEASE, "resumes_at": None, "claimed_until": None}
    this_one = and_(runs.c.project_id == project_id, runs.c.run_id == run_id)
    connection.execute(update(runs).where(this_one).values(values))
    log_line(connection, project_id, run_id, now, "run:resumed", "There is room again; the run goes on.")


def _put_off(
    connection: Connection, project_id: str, run_id: str, now: Micros, refusal: CapExceeded, *, waits: bool
) -> None:
    values: dict[str, object]
    if waits:
        values = {"resumes_at": _micros(refusal), "claimed_until": None}
    else:
        values = {"status": "refused", "ended_at": now, "stopped_by": "cap", "resumes_at": None}
    this_one = and_(runs.c.project_id == project_id, runs.c.run_id == run_id)
    connection.execute(update(runs).where(this_one).values(values))
    log_line(connection, project_id, run_id, now, "run:waiting" if waits else "cap:refused", refusal.sentence)


def _one(run: StartedRun | AnyRow) -> ColumnElement[bool]:
    return and_(runs.c.project_id == run.project_id, runs.c.run_id == run.run_id)


def _find_run(
    connection: Connection, run_id: str, project_id: str | None = None, *, lock: bool = False
) -> AnyRow:
    """Raises RunUnknown. Without a project it is looked for in all of them."""
    statement = (
        select(runs, projects.c.slug, projects.c.archived_at)
        .join(projects, projects.c.id == runs.c.project_id)
        .where(runs.c.run_id == run_id)
    )
    if project_id is not None:
        statement = statement.where(runs.c.project_id == project_id, projects.c.id == project_id)
    row = connection.execute(
        statement.with_for_update(of=runs, key_share=True) if lock else statement
    ).first()
    if row is None:
        raise RunUnknown
    return row
