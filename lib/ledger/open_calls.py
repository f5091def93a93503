"""What the operator is told of calls: which are open, what is reserved and owed, and which passed their ceilings."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, case, func, select

from lib.clock import DAY, Micros
from lib.db import Database
from lib.db.tables import open_calls, run_log, runs, usage_events
from lib.ledger.run_limits import EXCEEDED

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


LOOKED_BACK = 30
"""Days."""

_COUNT_PASSED = (
    select(
        usage_events.c.provider,
        func.count().label("calls"),
        func.max(run_log.c.at).label("newest"),
    )
    .join_from(
        run_log,
        usage_events,
        (usage_events.c.project_id == run_log.c.project_id) & (usage_events.c.event_id == run_log.c.event_id),
    )
    .where(run_log.c.tag == EXCEEDED, run_log.c.at >= bindparam("since"))
    .group_by(usage_events.c.provider)
    .order_by(usage_events.c.provider)
)


@dataclass(frozen=True, slots=True)
class PassedCeilings:
    """How many calls of one provider passed their ceilings of late, over all projects."""

    provider: str
    calls: int
    newest: Micros


def count_passed_ceilings(database: Database) -> list[PassedCeilings]:
    """Count calls that cost more than was reserved, by provider: bounds that do not hold. Raises DatabaseUnavailable."""
    with database.read() as connection:
        since = database.now(connection) - LOOKED_BACK * DAY
        return [PassedCeilings(*row) for row in connection.execute(_COUNT_PASSED, {"since": since})]
