"""Usage events as tests write them: with their roll-ups in one transaction, as live calls do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import insert, select

from lib.db import Database
from lib.db.tables import projects, usage_daily, usage_daily_caching, usage_events, usage_hourly
from lib.usage.event_row import EventRow
from lib.usage.rollups import Rollups

PLAIN = {
    "provider": "openai",
    "endpoint": "responses",
    "status": "ok",
    "cached_input_tokens": 0,
    "reasoning_tokens": 0,
    "imported": True,
}


def put_anew(database: Database, events: Iterable[Mapping[str, Any]]) -> None:
    """Write these events in place of all that were there. Each names its ``project`` by slug."""
    rollups = Rollups()
    with database.write() as connection:
        for table in (usage_events, usage_hourly, usage_daily, usage_daily_caching):
            connection.execute(table.delete())
        ids = {row.slug: row.id for row in connection.execute(select(projects.c.slug, projects.c.id))}
        for number, event in enumerate(events):
            row = {"event_id": f"e{number:03}", **PLAIN, **event}
            row["project_id"] = ids[row.pop("project")]
            connection.execute(insert(usage_events), row)
            rollups.add(connection, EventRow(**row))
