"""Months of usage events that are no longer in the database, but in files (lib.exchange.archive); their sums stay."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from lib.access.projects import ProjectIds
from lib.clock import HOUR, Micros, from_micros, month_after
from lib.db.tables import usage_archives, usage_hourly_totals
from lib.errors import UsageArchived

_NEWEST = select(func.max(usage_archives.c.month_at))


def archived_until(connection: Connection) -> Micros | None:
    """The end of what was archived, None where nothing was: single calls of before are not in the database."""
    newest = connection.execute(_NEWEST).scalar()
    return None if newest is None else month_after(int(newest))


def missing_before(connection: Connection, since: Micros | None, project_ids: ProjectIds) -> Micros | None:
    """Up to when calls of these projects are in files only; None where all from ``since`` on are in the database."""
    until = archived_until(connection)
    if until is None or (since is not None and since >= until):
        return None
    hour = usage_hourly_totals.c.hour_at
    had = select(hour).where(usage_hourly_totals.c.project_id.in_(project_ids), hour < until)
    if since is not None:
        had = had.where(hour > since - HOUR)
    return until if connection.execute(had.limit(1)).first() else None


def require_events(connection: Connection, since: Micros | None, project_ids: ProjectIds) -> None:
    """Return if all calls of these projects from ``since`` on are in the database. Raises UsageArchived."""
    until = missing_before(connection, since, project_ids)
    if until is not None:
        raise UsageArchived(from_micros(until))
