"""Reading the audit log: newest first, for those who may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from lib.access import audit
from lib.access.roles import Action, Actor, allows
from lib.clock import Micros
from lib.db import Database
from lib.db.tables import audit_log, projects
from lib.errors import Forbidden, ProjectUnknown


@dataclass(frozen=True)
class AuditRow:
    """One change: by whom, when, on what, from where. ``before`` and ``after`` are JSON without secrets."""

    id: int
    at: Micros
    actor: str
    origin: str
    action: str
    project: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class AuditFilter:
    """Which rows. Empty means all. Times in microseconds, ``since`` inclusive, ``until`` exclusive."""

    projects: Sequence[str] = ()
    actors: Sequence[str] = ()
    actions: Sequence[str] = ()
    """Tags or their beginnings: ``key`` means ``key:…``."""
    since: Micros | None = None
    until: Micros | None = None
    limit: int = 50
    offset: int = 0


_COLUMNS = tuple(audit_log.c[name] for name in AuditRow.__dataclass_fields__)


class AuditLog:
    """What was changed, for managers and above. Rows that concern no project are for all-projects roles."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, wanted: AuditFilter, *, actor: Actor) -> tuple[list[AuditRow], int]:
        """The newest rows that ``actor`` may see, and how many match in all. Raises Forbidden, ProjectUnknown."""
        with self._database.read() as connection:
            statement = _filtered(connection, wanted, actor)
            total = connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()
            page = statement.order_by(audit_log.c.id.desc()).limit(wanted.limit).offset(wanted.offset)
            rows = connection.execute(page).all()
        return [AuditRow(*row) for row in rows], int(total)

    def actors(self, *, actor: Actor) -> Sequence[str]:
        """Every actor in the rows that ``actor`` may see."""
        with self._database.read() as connection:
            visible = _filtered(connection, AuditFilter(), actor).subquery()
            return (
                connection.execute(select(visible.c.actor).distinct().order_by(visible.c.actor))
                .scalars()
                .all()
            )


def _filtered(connection: Connection, wanted: AuditFilter, actor: Actor) -> Select[Any]:
    statement = _visible(connection, wanted, actor)
    if wanted.actors:
        statement = statement.where(audit_log.c.actor.in_(wanted.actors))
    if wanted.actions:
        tags = [name for tag in wanted.actions for name in audit.of_any_release(tag)]
        starts = [audit_log.c.action.startswith(f"{tag}:", autoescape=True) for tag in tags]
        statement = statement.where(or_(audit_log.c.action.in_(tags), *starts))
    if wanted.since is not None:
        statement = statement.where(audit_log.c.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(audit_log.c.at < wanted.until)
    return statement


def _visible(connection: Connection, wanted: AuditFilter, actor: Actor) -> Select[Any]:
    everything = allows(actor, Action.SEE_AUDIT_LOG, None)
    rows = connection.execute(select(projects.c.slug, projects.c.id))
    ids = {row.slug: row.id for row in rows if allows(actor, Action.SEE_AUDIT_LOG, row.id)}
    for slug in wanted.projects:
        if slug not in ids:
            raise ProjectUnknown(slug)
    if wanted.projects:
        return select(*_COLUMNS).where(audit_log.c.project_id.in_([ids[slug] for slug in wanted.projects]))
    if everything:
        return select(*_COLUMNS)
    if not ids:
        raise Forbidden(
            "You may not see the audit log. That takes the role manager; ask a lead of the project."
        )
    return select(*_COLUMNS).where(audit_log.c.project_id.in_(list(ids.values())))
