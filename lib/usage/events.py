"""Usage events: the one place that writes live ones, and leases that ran out.

Rows are locked in one order everywhere, so that PostgreSQL never has to break a deadlock: the open call,
the account, the event with the sums of its caching, the roll-ups (hour, then day), the run, the key.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, case, delete, insert, select, text, update

from lib.clock import Micros
from lib.db import AnyRow
from lib.db.raw_execute import raw_execute
from lib.db.tables import accounts, open_calls, run_log, runs, usage_events
from lib.usage.clock_leaps import has_leapt, take_back
from lib.usage.event_row import EventRow
from lib.usage.rollups import Rollups

_rollups = Rollups()
_INSERT = insert(usage_events)
_LOG = insert(run_log)
_ADD_TO_RUN = (
    update(runs)
    .where(runs.c.project_id == bindparam("project"), runs.c.run_id == bindparam("run"))
    .values(
        calls=runs.c.calls + 1,
        failed_calls=runs.c.failed_calls + bindparam("failed"),
        unpriced_calls=runs.c.unpriced_calls + bindparam("unpriced"),
        tokens=runs.c.tokens + bindparam("used"),
        platform_calls=runs.c.platform_calls + bindparam("platform"),
        byok_calls=runs.c.byok_calls + bindparam("byok"),
        platform_nano=runs.c.platform_nano + bindparam("platform_cost"),
        byok_nano=runs.c.byok_nano + bindparam("byok_cost"),
        last4=bindparam("shown"),
    )
    .returning(runs.c.tokens, runs.c.token_budget, runs.c.budget_warned_at)
)
_UNCOUNTED = "budget:uncounted"
_NOTED = select(run_log.c.id).where(
    run_log.c.project_id == bindparam("project"),
    run_log.c.run_id == bindparam("run"),
    run_log.c.tag == bindparam("tag"),
)
TAKE_OPEN_CALL = (
    delete(open_calls)
    .where(open_calls.c.project_id == bindparam("project"), open_calls.c.event_id == bindparam("event"))
    .returning(*open_calls.c)
)
_LOCK_CALL = text("SELECT pg_advisory_xact_lock(hashtextextended(:call, 0))")
_EVENT_IS_THERE = select(usage_events.c.event_id).where(
    usage_events.c.project_id == bindparam("project"), usage_events.c.event_id == bindparam("event")
)
_COUNT = (
    update(accounts)
    .where(accounts.c.project_id == bindparam("project"))
    .values(
        sequence=accounts.c.sequence + 1,
        counted_nano=accounts.c.counted_nano + bindparam("counted"),
        unknown_nano=accounts.c.unknown_nano + bindparam("unknown"),
        reserved_nano=accounts.c.reserved_nano - bindparam("freed"),
        # Never before the last one: every later total would have to change.
        last_settled_at=case(
            (accounts.c.last_settled_at > bindparam("now"), accounts.c.last_settled_at),
            else_=bindparam("now"),
        ),
    )
    .returning(
        accounts.c.sequence,
        accounts.c.counted_nano,
        accounts.c.unknown_nano,
        accounts.c.reserved_nano,
        accounts.c.last_settled_at,
        accounts.c.alert_above_nano,
        accounts.c.alert_after,
    )
)


def write_event(connection: Connection, row: EventRow) -> AnyRow:
    """Write one live usage row, add it to the roll-ups and its run; returns what the run's budget needs."""
    raw_execute(connection, _INSERT, row.values())
    _rollups.add(connection, row)
    platform = int(row.source == "platform")
    cost = row.cost_nano or 0
    run: AnyRow
    (run,) = raw_execute(
        connection,
        _ADD_TO_RUN,
        {
            "project": row.project_id,
            "run": row.run_id,
            "failed": int(row.status != "ok"),
            "unpriced": int(row.cost_nano is None),
            "used": (row.input_tokens or 0) + (row.output_tokens or 0),
            "platform": platform,
            "byok": 1 - platform,
            "platform_cost": cost * platform,
            "byok_cost": cost * (1 - platform),
            "shown": row.key_last4,
        },
    )
    if run.token_budget is not None and row.input_tokens is None and row.cost_nano is None:
        _note_uncounted(connection, row)
    return run


def _note_uncounted(connection: Connection, row: EventRow) -> None:
    """Once a run; its row is locked by now."""
    project, run = row.project_id, row.run_id or ""
    if not is_logged(connection, project, run, _UNCOUNTED):
        message = (
            "The size of a call is not known: the provider did not tell its tokens. Such calls do not count "
            "against the run's token budget; on the platform key they count against the caps."
        )
        log_line(connection, project, run, row.occurred_at, _UNCOUNTED, message, event_id=row.event_id)


def count_on_account(connection: Connection, row: EventRow, *, ceiling: int, freed: int) -> bool:
    """Free a platform call's reservation and count its cost; its ceiling where the cost is unknown.

    The event gets the running totals, and the time at which they hold. Returns whether a threshold of an alert
    may have been crossed (lib.alerts.thresholds looks).

    Args:
        connection: of the transaction that writes the event as well.
        row: the event.
        ceiling: the most that the call can have cost, nano-USD.
        freed: what the account still holds for it: the ceiling, or 0 where the reservation was lost.
    """
    unknown = row.cost_nano is None
    parameters = {
        "project": row.project_id,
        "counted": ceiling if row.cost_nano is None else row.cost_nano,
        "unknown": ceiling if unknown else 0,
        "freed": freed,
        "now": row.occurred_at,
    }
    (account,) = raw_execute(connection, _COUNT, parameters)
    row.sequence = account.sequence
    row.counted_after_nano, row.unknown_after_nano = account.counted_nano, account.unknown_nano
    now, row.occurred_at = row.occurred_at, account.last_settled_at
    if has_leapt(connection, row.project_id, row.occurred_at, now):
        row.occurred_at = take_back(connection, row.project_id, now)
    taken: int = account.counted_nano + account.reserved_nano
    return taken >= account.alert_above_nano or now >= (account.alert_after or now + 1)


def log_line(
    connection: Connection,
    project_id: str,
    run_id: str,
    at: Micros,
    tag: str,
    message: str,
    *,
    event_id: str | None = None,
) -> None:
    """Write one line of a run's log."""
    connection.execute(
        _LOG,
        {
            "project_id": project_id,
            "run_id": run_id,
            "at": at,
            "tag": tag,
            "message": message[:600],
            "event_id": event_id,
        },
    )


def is_logged(connection: Connection, project_id: str, run_id: str, tag: str) -> bool:
    """Whether the run's log has a line of this tag."""
    which = {"project": project_id, "run": run_id, "tag": tag}
    return connection.execute(_NOTED, which).first() is not None


def take_open_call(connection: Connection, project_id: str, event_id: str) -> AnyRow | None:
    """Take an open call off the table; None where it is not there (any more)."""
    return next(
        iter(raw_execute(connection, TAKE_OPEN_CALL, {"project": project_id, "event": event_id})), None
    )


def lock_call(connection: Connection, project_id: str, event_id: str) -> None:
    """Where a crash may have taken an open row back: until this transaction ends nobody else writes it or its event.

    The event's key does not keep a second one out that is dated into another month (lib.db.months.parts).
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK_CALL, {"call": f"{project_id} {event_id}"})


def event_is_there(connection: Connection, project_id: str, event_id: str) -> bool:
    """Whether a call has its usage row. An open row that is missing alone does not say so.

    A crash of the database may have taken back the commit that wrote it.
    """
    return bool(raw_execute(connection, _EVENT_IS_THERE, {"project": project_id, "event": event_id}))
