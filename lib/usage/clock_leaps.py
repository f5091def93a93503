"""Calls that a wrong clock has dated into the future, and how they come back.

A project's calls settle in one order, and none is dated before the one ahead of it. So one reading that is a year
ahead would date all later calls a year ahead, and keep them in the windows of the caps until then. Two clocks
disagree then, and the project's own history says which was wrong: where its calls of before the leap lie in the past
of the clock of now, the leap was the wrong reading, and the calls since then are dated to now. Where they do not, the
clock of now has gone back; then the account keeps its time, and no window opens early.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, update

from lib.clock import DAY, HOUR, Micros, from_micros
from lib.db import Database
from lib.db.tables import accounts, projects, usage_events
from lib.usage import rollups

log = logging.getLogger(__name__)

LEAP: Micros = 7 * DAY + HOUR
"""What is dated further ahead than this was dated by a wrong clock: longer than the longest window."""

_TOLERATED: Micros = DAY
"""How far ahead ``usage verify`` lets a call be dated: clocks of several machines disagree a little."""

_of_project = usage_events.c.project_id == bindparam("project")
_counted = usage_events.c.sequence.is_not(None)
_live = usage_events.c.imported.is_(False)
_LAST_BEFORE = (
    select(usage_events.c.occurred_at, usage_events.c.sequence)
    .where(_of_project, _counted, usage_events.c.occurred_at <= bindparam("limit"))
    .order_by(usage_events.c.occurred_at.desc(), usage_events.c.sequence.desc())
    .limit(1)
)
_AHEAD = (_of_project, _live, usage_events.c.occurred_at > bindparam("limit"))
_SPAN = select(func.min(usage_events.c.occurred_at), func.max(usage_events.c.occurred_at)).where(*_AHEAD)
_DATE = update(usage_events).where(*_AHEAD).values(occurred_at=bindparam("moment"))
_ACCOUNT = update(accounts).where(accounts.c.project_id == bindparam("project_id_"))
_LOCK = select(accounts.c.project_id).where(accounts.c.project_id == bindparam("project")).with_for_update()
_ALL_AHEAD = (
    select(projects.c.id, projects.c.slug, func.count(), func.max(usage_events.c.occurred_at))
    .join(usage_events, usage_events.c.project_id == projects.c.id)
    .where(_live, usage_events.c.occurred_at > bindparam("limit"))
    .group_by(projects.c.id, projects.c.slug)
    .order_by(projects.c.slug)
)


@dataclass(frozen=True)
class Misdated:
    """Calls of one project that are dated into the future; ``latest`` is the furthest of their times."""

    project_id: str
    project: str
    calls: int
    latest: Micros


def has_leapt(connection: Connection, project_id: str, last_settled_at: Micros, now: Micros) -> bool:
    """Whether the account's time was set by a wrong clock: far ahead of now, and its calls of before are not."""
    if last_settled_at <= now + LEAP:
        return False
    before = connection.execute(_LAST_BEFORE, {"project": project_id, "limit": now + LEAP}).first()
    return before is None or before.occurred_at <= now


def take_back(connection: Connection, project_id: str, now: Micros, *, ahead: Micros = LEAP) -> Micros:
    """Date to now the calls that lie more than ``ahead`` in the future, the account's time too; returns that time.

    Their order stays, and so do the running totals: in each window they count as calls of now. The roll-ups follow.
    """
    connection.execute(_LOCK, {"project": project_id})
    which = {"project": project_id, "limit": now + ahead}
    before = connection.execute(_LAST_BEFORE, which).first()
    moment = max(now, before.occurred_at if before else now)
    first, last = connection.execute(_SPAN, which).one()
    connection.execute(_DATE, {**which, "moment": moment})
    connection.execute(_ACCOUNT.values(last_settled_at=moment), {"project_id_": project_id})
    if first is not None:
        for since, until in ((first, last + 1), (moment, moment + 1)):
            rollups.rebuild(connection, project_id, since, until)
        log.warning("Calls that a wrong clock had dated up to %s are dated to now.", from_micros(last))
    return moment


def misdated(database: Database) -> Iterator[Misdated]:
    """Find the projects with calls that are dated more than a day ahead."""
    with database.read(seconds=0) as connection:
        limit = database.now(connection) + _TOLERATED
        yield from (Misdated(*row) for row in connection.execute(_ALL_AHEAD, {"limit": limit}).all())


def mend(database: Database, found: Misdated) -> None:
    """Date these calls to now."""
    with database.write(seconds=0) as connection:
        take_back(connection, found.project_id, database.now(connection), ahead=_TOLERATED)
