"""Denied attempts in the audit log: so few per person and hour that no person can fill the disk with them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import select

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.roles import Actor
from lib.clock import HOUR
from lib.db import Database
from lib.db.tables import projects
from lib.errors import Forbidden, QodexError

log = logging.getLogger(__name__)

PER_HOUR = 20
"""How many forbidden attempts of one person get a row."""


def record_rarely(
    database: Database,
    actor: Actor,
    tag: Tag,
    subject: Subject | None = None,
    *,
    after: Mapping[str, object],
    per_hour: int = PER_HOUR,
) -> None:
    """Write one row in a transaction of its own, unless this person has ``per_hour`` of that tag already."""
    with database.read() as connection:
        since = database.now(connection) - HOUR
        if audit.count_recent(connection, since, [tag], actor=actor.name)[0] >= per_hour:
            return
    with database.write() as connection:
        audit.record(connection, database.now(connection), actor, tag, subject, after=after)


@contextmanager
def denials_logged(database: Database, actor: Actor, what: str, slug: str | None = None) -> Iterator[None]:
    """Around an action: a Forbidden that leaves it is in the audit log, too.

    Args:
        database: where the log is; the action's own transaction is undone by then.
        actor: who tried.
        what: the action, as a few words: ``set key``.
        slug: the project it was tried on.
    """
    try:
        yield
    except Forbidden:
        try:
            _record(database, actor, what, slug)
        except QodexError as problem:
            log.warning("A denied attempt is not in the audit log: %s", problem)
        raise


def _record(database: Database, actor: Actor, what: str, slug: str | None) -> None:
    with database.read() as connection:
        found = select(projects.c.id).where(projects.c.slug == (slug or ""))
        project_id = connection.execute(found).scalar()
    subject = Subject(project_id, slug) if project_id and slug else None
    record_rarely(database, actor, Tag.ACTION_REFUSED, subject, after={"tried": what})
