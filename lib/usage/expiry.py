"""Calls and runs whose lease ran out: their worker is gone, and no other process ends them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, literal_column, select, update

from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.raw_execute import raw_execute
from lib.db.tables import open_calls, runs
from lib.usage.event_row import EventRow
from lib.usage.events import TAKE_OPEN_CALL, count_on_account, write_event
from lib.usage.settled_calls import note_settled


def is_late() -> ColumnElement[bool]:
    """That the lease of a call ran out by ``now``, in the words of the index for that."""
    return (open_calls.c.lease_until < bindparam("now")) & (open_calls.c.lease_until > literal_column("0"))


_LATE = (
    select(open_calls.c.event_id)
    .where(open_calls.c.project_id == bindparam("project"), is_late())
    .order_by(open_calls.c.lease_until, open_calls.c.event_id)
)
_PROJECTS_LATE = select(open_calls.c.project_id).where(is_late()).distinct()
# Its lease may have been renewed since it was found late. It is one call, found by its key.
_TAKE_LATE = TAKE_OPEN_CALL.where(open_calls.c.lease_until < bindparam("now"))


_LOST = (runs.c.status == "running") & runs.c.ended_at.is_(None) & (runs.c.lease_until < bindparam("now"))
_PROJECTS_LOST = select(runs.c.project_id).where(_LOST).distinct()
_OF_PROJECT = runs.c.project_id == bindparam("project")
_RUNS_LOST = select(runs.c.run_id).where(_OF_PROJECT, _LOST).with_for_update(key_share=True, skip_locked=True)
_LOSE_RUNS = (
    update(runs)
    .where(_OF_PROJECT, runs.c.run_id.in_(_RUNS_LOST))
    .values(status="lost", ended_at=runs.c.lease_until)
)
"""End the runs whose worker sends no heartbeat any more; one that another process writes just now lives."""


def unknown_event(call: AnyRow, now: Micros, run_kind: str | None) -> EventRow:
    """The usage row of a call whose worker is gone: how it ended is unknown."""
    return EventRow(
        project_id=call.project_id,
        event_id=call.event_id,
        occurred_at=now,
        run_id=call.run_id,
        run_kind=run_kind,
        source=call.source,
        provider=call.provider,
        model=call.model,
        endpoint=call.endpoint,
        status="unknown",
        key_last4=call.key_last4,
        error_message="The worker stopped before the outcome was known.",
    )


def expire_calls(database: Database, project_id: str) -> int:
    """Turn a project's calls whose lease ran out into "outcome unknown"; returns how many.

    Each in a transaction of its own: one that wrote several events could hold rows that another waits for,
    and wait for rows that the other holds.
    """
    with database.read() as connection:
        late = {"project": project_id, "now": database.now(connection)}
        event_ids = connection.execute(_LATE, late).scalars().all()
    return sum(_expire(database, project_id, event_id) for event_id in event_ids)


def _expire(database: Database, project_id: str, event_id: str) -> bool:
    with database.write(durable=False) as connection:
        now = database.now(connection)
        late = {"project": project_id, "event": event_id, "now": now}
        call = connection.execute(_TAKE_LATE, late).first()
        if call is None:
            return False
        of_call = (runs.c.project_id == project_id) & (runs.c.run_id == call.run_id)
        kind = connection.execute(select(runs.c.kind).where(of_call)).scalar()
        row = unknown_event(call, now, kind)
        if call.source == "platform":
            held = call.ceiling_nano
            count_on_account(connection, row, ceiling=held, freed=held)
        write_event(connection, row)
    note_settled(row)
    return True


def sweep(database: Database, project_ids: Sequence[str] | None = None) -> None:
    """Before a reader looks: settle what died. Writes only where something has; else two cheap look-ups."""
    with database.read() as connection:
        now = {"now": database.now(connection)}
        late = {row.project_id for row in raw_execute(connection, _PROJECTS_LATE, now)}
        lost = {row.project_id for row in raw_execute(connection, _PROJECTS_LOST, now)}
    for project_id in late if project_ids is None else late & set(project_ids):
        expire_calls(database, project_id)
    for project_id in sorted(lost):
        with database.write(durable=False) as connection:
            now = {"now": database.now(connection)}
            connection.execute(_LOSE_RUNS, {"project": project_id, **now})
