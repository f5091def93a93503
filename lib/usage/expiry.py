"""Calls and runs whose lease ran out: their worker is gone, and no other process ends them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select, update

from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.raw_execute import raw_execute
from lib.db.tables import open_calls, runs
from lib.usage.event_row import EventRow
from lib.usage.events import TAKE_OPEN_CALL, count_on_account, write_event
from lib.usage.settled_calls import note_settled

_LATE = (
    select(open_calls.c.event_id)
    .where(open_calls.c.project_id == bindparam("project"), open_calls.c.lease_until < bindparam("now"))
    .order_by(open_calls.c.lease_until, open_calls.c.event_id)
)
_PROJECTS_LATE = select(open_calls.c.project_id).where(open_calls.c.lease_until < bindparam("now")).distinct()
# Its lease may have been renewed since it was found late.
_TAKE_LATE = TAKE_OPEN_CALL.where(open_calls.c.lease_until < bindparam("now"))


_LOST = (runs.c.status == "running") & runs.c.ended_at.is_(None) & (runs.c.lease_until < bindparam("now"))
_ANY_LOST = select(runs.c.run_id).where(_LOST).limit(1)


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
        projects = {row.project_id for row in raw_execute(connection, _PROJECTS_LATE, now)}
        lost = raw_execute(connection, _ANY_LOST, now)
    for project_id in projects if project_ids is None else projects & set(project_ids):
        expire_calls(database, project_id)
    if lost:
        with database.write(durable=False) as connection:
            _lose_runs(connection, database.now(connection))


def _lose_runs(connection: Connection, now: Micros) -> None:
    """End the runs whose worker sends no heartbeat any more; one that another process writes just now lives."""
    lost = select(runs.c.run_id).where(_LOST).with_for_update(key_share=True, skip_locked=True)
    ended = update(runs).where(runs.c.run_id.in_(lost)).values(status="lost", ended_at=runs.c.lease_until)
    connection.execute(ended, {"now": now})
