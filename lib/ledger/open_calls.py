"""Calls that are open now, for the operator: what runs, what is reserved, and what workers still owe."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from lib.clock import Micros
from lib.db import Database
from lib.db.tables import open_calls, runs

_OWED = runs.c.ended_at.is_not(None)
_COUNT = select(
    func.count(),
    func.coalesce(func.sum(open_calls.c.ceiling_nano), 0),
    func.coalesce(func.sum(case((_OWED, 1), else_=0)), 0),
    func.max(case((_OWED, open_calls.c.lease_until))),
).select_from(
    open_calls.outerjoin(
        runs, (runs.c.project_id == open_calls.c.project_id) & (runs.c.run_id == open_calls.c.run_id)
    )
)


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """How many calls are open and what they hold, over all projects."""

    count: int
    reserved_nano: int
    owed: int
    """Of runs that have ended: a worker owes their settlement, or has died."""
    owed_until: Micros | None
    """When the last of these is counted as unknown if no worker has settled it; microseconds."""


def count_open_calls(database: Database) -> OpenCalls:
    """Count them. Raises DatabaseUnavailable."""
    with database.read() as connection:
        count, reserved, owed, until = connection.execute(_COUNT).one()
    return OpenCalls(int(count), int(reserved), int(owed), None if until is None else int(until))
