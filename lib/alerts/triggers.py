"""What is told besides caps: noticed where it happens, in that very transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from lib.access.audit import Subject
from lib.alerts import kinds, outbox
from lib.caps.requests import CapRequest
from lib.clock import DAY, Micros
from lib.db import AnyRow
from lib.db.alert_tables import PLATFORM
from lib.errors import BudgetExceeded, KeyLocked
from lib.usage.event_row import EventRow

_UNPRICED_AGAIN: Micros = 7 * DAY
_SEAL_AGAIN: Micros = DAY


def note_unpriced(connection: Connection, project: Subject, row: EventRow, now: Micros) -> None:
    """Tell of a call whose tokens are known and whose cost is not: once a model and week."""
    if row.cost_nano is not None or row.input_tokens is None or row.status != "ok":
        return
    about = f"unpriced:{row.model}"
    if outbox.fire_once(connection, project.project_id, about, now, again_after=_UNPRICED_AGAIN):
        data = {
            "project": project.slug,
            "provider": row.provider,
            "model": row.model,
            "source": row.source,
            "run_id": row.run_id,
        }
        outbox.record(connection, project.project_id, kinds.UNPRICED, now, data)


def note_run_stopped(connection: Connection, run: AnyRow, problem: BudgetExceeded, now: Micros) -> None:
    """Tell of a run that has used up its own token budget."""
    data = {"project": run.slug, "run_id": run.run_id, "budget": problem.budget, "used": problem.used}
    outbox.record(connection, run.project_id, kinds.RUN_STOPPED, now, data)


def note_key_failing(
    connection: Connection,
    project: Subject,
    provider: str,
    last4: str,
    why: str,
    code: str | None,
    now: Micros,
) -> None:
    """Tell that the provider has refused a project's key, ``rejected`` or ``out_of_money``."""
    data = {"project": project.slug, "provider": provider, "last4": last4, "why": why, "code": code}
    outbox.record(connection, project.project_id, kinds.KEY_FAILING, now, data)


def note_key_recovered(
    connection: Connection, project: Subject, provider: str, last4: str, since: Micros, now: Micros
) -> None:
    """Tell that a key whose failing was told at ``since`` works again."""
    data = {"project": project.slug, "provider": provider, "last4": last4, "since": since}
    outbox.record(connection, project.project_id, kinds.KEY_RECOVERED, now, data)


def note_key_locked(
    connection: Connection,
    project: Subject,
    provider: str,
    last4: str | None,
    locked: KeyLocked,
    now: Micros,
) -> None:
    """Tell that a project's key does not open here. A project without one is told of once a day."""
    if last4 is None and not outbox.fire_once(
        connection, project.project_id, "seal", now, again_after=_SEAL_AGAIN
    ):
        return
    data = {
        "project": project.slug,
        "provider": provider,
        "last4": last4,
        "altered": locked.tampered,
        "why": locked.sentence,
    }
    outbox.record(connection, project.project_id, kinds.KEY_LOCKED, now, data)


def note_platform_key(
    connection: Connection, provider: str, last4: str, why: str | None, now: Micros
) -> None:
    """Tell administrators that the platform's key fails, and ``why``; or, with None, that it works again."""
    kind = kinds.PLATFORM_KEY_RECOVERED if why is None else kinds.PLATFORM_KEY_FAILING
    outbox.record(connection, PLATFORM, kind, now, {"provider": provider, "last4": last4, "why": why})


def note_cap_request(connection: Connection, project: Subject, request: CapRequest, now: Micros) -> None:
    """Tell administrators what a lead asks for, and the project what came of it."""
    data: dict[str, object] = {
        "project": project.slug,
        "asked_by": request.asked_by,
        "reason": request.reason,
        "cap_5h_nano": request.cap_5h_nano,
        "cap_7d_nano": request.cap_7d_nano,
        "ends_at": request.wanted_until,
    }
    if request.status == "open":
        outbox.record(connection, PLATFORM, kinds.CAPS_ASKED, now, data)
        return
    data |= {"status": request.status, "decided_by": request.decided_by, "answer": request.answer}
    outbox.record(connection, project.project_id, kinds.CAPS_DECIDED, now, data)
