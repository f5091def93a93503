"""Alerts as tests read them: the events that were written, the oldest first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from lib.db import Database
from lib.db.tables import alert_events, alert_settings


@dataclass(frozen=True)
class Told:
    """One event."""

    project_id: str
    event_id: str
    kind: str
    severity: str
    at: int
    data: dict[str, Any]


def told(database: Database, *kinds: str) -> list[Told]:
    """All events, or those of these kinds."""
    with database.read() as connection:
        rows = connection.execute(select(alert_events).order_by(alert_events.c.at, alert_events.c.data))
        found = [
            Told(row.project_id, row.event_id, row.kind, row.severity, row.at, json.loads(row.data))
            for row in rows
        ]
    return [each for each in found if not kinds or each.kind in kinds]


def crossed(database: Database) -> list[tuple[str, int]]:
    """Which thresholds were told, in order."""
    return [(each.data["window"], each.data["threshold_percent"]) for each in told(database, "cap.threshold")]


def want_thresholds(database: Database, project_id: str, *percents: int) -> None:
    """Let a project be told of these percents, as if it always had been."""
    row = {"project_id": project_id, "thresholds": ",".join(map(str, percents)), "set_at": 1, "set_by": "a"}
    with database.write() as connection:
        connection.execute(delete(alert_settings).where(alert_settings.c.project_id == project_id))
        connection.execute(insert(alert_settings), row)
