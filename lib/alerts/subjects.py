"""Whose alerts are meant: a project's, or the platform's; and who may change them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from lib.access.audit import Subject
from lib.access.projects import find_for
from lib.access.roles import Action, Actor, require
from lib.db.alert_tables import PLATFORM
from lib.db.tables import deployment


@dataclass(frozen=True)
class Owner:
    """A project, or the platform: then ``id`` is ``*`` and ``subject`` None."""

    id: str
    slug: str | None
    subject: Subject | None


def owner(
    connection: Connection,
    slug: str | None,
    actor: Actor,
    action: Action = Action.SET_ALERTS,
    *,
    lock: bool = False,
) -> Owner:
    """The project of that slug, or the platform where there is none, for somebody who acts on its alerts.

    Raises:
        ProjectUnknown: no such project, or the actor may not know of it.
        Forbidden: the actor may not do ``action`` there; what is the platform's takes an administrator.
    """
    if slug is None:
        require(actor, Action.SET_PLATFORM_ALERTS, None)
        if lock:
            connection.execute(select(deployment.c.one).with_for_update())
        return Owner(PLATFORM, None, None)
    project = find_for(connection, slug, actor, action, lock=lock)
    return Owner(project.id, slug, project.subject)
