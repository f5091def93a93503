"""Writing down that something is to be told: in the transaction of what happened, so once and only if it did."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.alerts.kinds import AlertKind
from lib.clock import Micros
from lib.db.alert_tables import alert_events, alert_states
from lib.db.raw_execute import raw_execute
from lib.db.upsert import Upsert

_INSERT = insert(alert_events)
_PUT = Upsert(alert_states, ["state", "since", "cap_nano"], "set")
_STATE = select(alert_states.c.state, alert_states.c.since, alert_states.c.cap_nano).where(
    alert_states.c.project_id == bindparam("project"), alert_states.c.subject == bindparam("about")
)
_FIRE_ARMED = (
    update(alert_states)
    .where(
        alert_states.c.project_id == bindparam("project"),
        alert_states.c.subject == bindparam("about"),
        (alert_states.c.state == "armed") | (alert_states.c.since <= bindparam("stale")),
    )
    .values(state="fired", since=bindparam("at"))
    .returning(alert_states.c.subject)
)
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_ADD = {
    name: kind(alert_states).on_conflict_do_nothing().returning(alert_states.c.subject)
    for name, kind in _INSERTS.items()
}
_NEVER: Micros = 0


def record(
    connection: Connection,
    project_id: str,
    kind: AlertKind,
    at: Micros,
    data: Mapping[str, Any],
    *,
    severity: str | None = None,
) -> str:
    """Write an event to be told; returns its id, which every message of it carries.

    Args:
        connection: of the transaction that does what it tells of.
        project_id: whose it is; ``*`` for the platform.
        kind: what happened.
        at: when.
        data: what the message says: numbers and names, never a secret and nothing of a prompt.
        severity: how urgent, where that differs from the kind's own.
    """
    event_id = f"msg_{secrets.token_hex(16)}"
    row = {
        "project_id": project_id,
        "event_id": event_id,
        "kind": kind.name,
        "severity": severity or kind.severity,
        "at": at,
        "data": json.dumps(data, ensure_ascii=False, sort_keys=True),
    }
    raw_execute(connection, _INSERT, row)
    return event_id


def fire_once(
    connection: Connection, project_id: str, about: str, at: Micros, *, again_after: Micros | None = None
) -> bool:
    """Whether this transaction is the one that tells of ``about``; no other one does until it is armed again.

    Two at once: one waits until the other has committed, and is told no.

    Args:
        connection: of the transaction that writes the event as well.
        project_id: whose it is.
        about: what is told once, ``cap:5h:100`` for one.
        at: now.
        again_after: how long after the last time it may be told again without having been armed.
    """
    known = state_of(connection, project_id, about)
    stale = _NEVER if again_after is None else at - again_after
    if known is not None:
        if known.state == "fired" and known.since > stale:
            return False
        asked = {"project": project_id, "about": about, "stale": stale, "at": at}
        return connection.execute(_FIRE_ARMED, asked).first() is not None
    row = {"project_id": project_id, "subject": about, "state": "fired", "since": at, "cap_nano": None}
    return connection.execute(_ADD[connection.dialect.name], row).first() is not None


def state_of(connection: Connection, project_id: str, about: str) -> Any | None:
    """What is known of ``about``: ``state``, ``since`` and ``cap_nano``; None where it was never told."""
    return next(iter(raw_execute(connection, _STATE, {"project": project_id, "about": about})), None)


def put_state(
    connection: Connection, project_id: str, about: str, state: str, since: Micros, cap_nano: int | None
) -> None:
    """Write what is known of ``about``, whatever was; the caller holds the project's account."""
    row = {"project_id": project_id, "subject": about, "state": state, "since": since, "cap_nano": cap_nano}
    connection.execute(_PUT.on(connection), row)
