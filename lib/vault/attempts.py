"""A limit on refused keys, so that our check is no tool for trying out stolen ones.

Counted from the audit log: what is limited is what is logged. Accepted keys and outages do not count.
"""

from __future__ import annotations

from lib.access.audit import Tag, count_recent
from lib.access.projects import find
from lib.access.roles import Actor
from lib.clock import MINUTE, Micros, from_micros
from lib.db import Database
from lib.errors import TooManyChecks

WINDOW: Micros = 10 * MINUTE
PER_PERSON = 20
PER_PROJECT = 40


def require_attempts_left(database: Database, slug: str, actor: Actor) -> None:
    """Return while the person and the project have refused keys left in this window. Raises TooManyChecks."""
    with database.read() as connection:
        project = find(connection, slug)
        since = database.now(connection) - WINDOW
        mine = count_recent(connection, since, [Tag.KEY_REFUSED], actor=actor.name)
        ours = count_recent(connection, since, [Tag.KEY_REFUSED], project_id=project.id)
    for (refused, oldest), limit, whose in ((mine, PER_PERSON, "you"), (ours, PER_PROJECT, "this project")):
        if refused >= limit and oldest is not None:
            retry_at = from_micros(oldest + WINDOW)
            raise TooManyChecks(
                f"OpenAI has refused {refused} keys from {whose} in the last 10 minutes, so no other is tried. "
                f"Try again at {retry_at:%H:%M:%S} UTC.",
                retry_at,
            )
