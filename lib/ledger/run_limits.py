"""What a call means for its run: whether it may go on, what stops it, and what its log says."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, update

from lib.alerts import triggers
from lib.clock import Micros
from lib.db import AnyRow
from lib.db.tables import runs
from lib.errors import BudgetExceeded, QodexError, RunEnded
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.amounts import plain_usd
from lib.providers import title
from lib.usage.events import is_logged, log_line
from lib.usage.settled_calls import passes_ceiling

_BUDGET_WARNING = 80  # percent
_UNSENT = "call:not_sent"
EXCEEDED = "cap:exceeded"
"""The tag of a run's line that says that a call cost more than its ceiling."""


def this_run(run: AnyRow | OpenAttempt) -> ColumnElement[bool]:
    """The run's own row."""
    return and_(runs.c.project_id == run.project_id, runs.c.run_id == run.run_id)


def require_open(connection: Connection, run: AnyRow, now: Micros) -> None:
    """Return if the run takes one more call. Raises RunEnded, or BudgetExceeded, which is noted."""
    if run.status != "lost" and (run.run_ended_at is not None or run.status != "running"):
        raise RunEnded("This run has ended. Start another one for more calls.")
    if run.token_budget is not None and run.tokens >= run.token_budget:
        problem = BudgetExceeded(budget=run.token_budget, used=run.tokens)
        stop_run(connection, run, now, "budget", problem)
        raise problem


def stop_run(connection: Connection, run: AnyRow, now: Micros, by: str, problem: QodexError) -> None:
    """From here on the run can only end ``budget_exceeded``; what it did is kept."""
    if run.stopped_by == by:
        return  # an agent that goes on asking must not fill the log
    if run.stopped_by is None:
        first = update(runs).where(this_run(run), runs.c.stopped_by.is_(None)).values(stopped_by=by)
        if connection.execute(first).rowcount and isinstance(problem, BudgetExceeded):
            triggers.note_run_stopped(connection, run, problem, now)
    log_line(connection, run.project_id, run.run_id, now, f"{by}:stopped", problem.sentence)


def warn_of_budget(connection: Connection, call: OpenAttempt, run: AnyRow, now: Micros) -> None:
    """Once, at 80 % of the run's own token budget."""
    if run.token_budget is None or run.budget_warned_at is not None:
        return
    if 100 * run.tokens >= _BUDGET_WARNING * run.token_budget:
        connection.execute(update(runs).where(this_run(call)).values(budget_warned_at=now))
        message = (
            f"The run has used {run.tokens:,} of its {run.token_budget:,}-token budget. It stops at 100 %."
        )
        log_line(connection, call.project_id, call.run_id, now, "budget:warned", message)


def note_failure(connection: Connection, call: OpenAttempt, outcome: AttemptResult, now: Micros) -> None:
    """What the provider said against the key, if it did, and whether the platform's paid instead."""
    if outcome.key_verdict not in {"rejected", "out_of_money"}:
        return
    whose = "platform-funded key" if call.source == "platform" else f"key •••• {call.last4}"
    words = outcome.error_message or outcome.error_code or str(outcome.http_status)
    rejected = outcome.key_verdict == "rejected"
    what = (
        f"{title(call.provider)} rejected the {whose}"
        if rejected
        else f"The account of the {whose} is out of money"
    )
    stopped = call.source == "byok" and not call.falls_back
    kept = " Nothing was spent on the platform key." if stopped else ""
    log_line(
        connection,
        call.project_id,
        call.run_id,
        now,
        "key:failed",
        f"{what}: {words}{kept}",
        event_id=call.id,
    )


def note_excess(
    connection: Connection, call: OpenAttempt, ceiling: int | None, cost: int | None, now: Micros
) -> None:
    """A provider that exceeds what it was given is paid and counted, and the log says so."""
    if not passes_ceiling(ceiling, cost):
        return
    message = (
        f"The call cost ${plain_usd(cost)}, more than the ${plain_usd(ceiling)} that its limits allow: "
        "the provider went beyond them. The real cost counts."
    )
    log_line(connection, call.project_id, call.run_id, now, EXCEEDED, message, event_id=call.id)


def note_unsent(connection: Connection, opened: AnyRow, now: Micros, why: str) -> None:
    """Once a run: nothing of a request left this machine. There is no usage row that could say it."""
    if is_logged(connection, opened.project_id, opened.run_id, _UNSENT):
        return
    message = f"A request could not be sent, so it cost nothing and counts as no call: {why}"
    log_line(connection, opened.project_id, opened.run_id, now, _UNSENT, message, event_id=opened.event_id)
