"""What becomes of a project: another title, labels, archived and restored, and deleted while it is empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, delete, exists, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import Project, clean_name, find_for
from lib.access.roles import Action, Actor
from lib.clock import Micros
from lib.db import Database
from lib.db.alert_tables import ALERT_TABLES
from lib.db.tables import (
    members,
    project_labels,
    projects,
    provider_keys,
    runs,
    saved_views,
    usage_events,
    usage_hourly,
)
from lib.errors import BadInput

_LABEL = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
_LONGEST_VALUE = 200
_MOST_LABELS = 20


class ProjectChanges:
    """Change a project. Each function checks the actor's rights itself and is in the audit log.

    Args:
        database: where projects are.
        day_start: when the day of an instant began, in the reporting time zone: labels hold from there on.
    """

    def __init__(self, database: Database, day_start: Callable[[Connection, Micros], Micros]) -> None:
        self._database = database
        self._day_start = day_start

    def describe(
        self, slug: str, *, title: str | None = None, labels: Mapping[str, str] | None = None, actor: Actor
    ) -> None:
        """Give the project another title, labels from today on, or both at once; its short name never changes.

        Args:
            slug: which project.
            title: None leaves it.
            labels: by name; an empty value takes one away. They hold from the beginning of today in the reporting
                time zone; earlier days stay as they were.
            actor: who asks.

        Raises:
            BadInput: the title, a name or a value cannot be used, or there are too many labels. Nothing is changed.
            Forbidden: that takes the role lead.
        """
        title = None if title is None else clean_name(title)
        pairs = [_clean_label(name, value) for name, value in (labels or {}).items()]
        with self._changing(slug, actor, "describe the project") as (connection, project):
            if title is not None:
                self._rename(connection, project, title, actor)
            for name, value in pairs:
                self._set_label(connection, project, name, value, actor)

    def archive(self, slug: str, *, actor: Actor) -> Project:
        """No more runs, and out of every choice of projects; history, exports and the key stay.

        Raises:
            BadInput: it is archived already.
            Forbidden: that takes the role lead.
        """
        with self._changing(slug, actor, "archive the project") as (connection, before):
            if before.archived_at is not None:
                raise BadInput(f"The project {slug} is archived already.")
            return self._set_archived(connection, actor, before, self._database.now(connection))

    def restore(self, slug: str, *, actor: Actor) -> Project:
        """Let an archived project have runs again. Raises BadInput where it is not archived, Forbidden."""
        with self._changing(slug, actor, "restore the project") as (connection, before):
            if before.archived_at is None:
                raise BadInput(f"The project {slug} is not archived.")
            return self._set_archived(connection, actor, before, None)

    def delete(self, slug: str, *, actor: Actor) -> None:
        """Delete a project that was never used.

        Raises:
            BadInput: it has calls, runs or keys, so its history has to stay; it can be archived.
            Forbidden: that takes the role admin.
        """
        with self._changing(slug, actor, "delete the project", Action.DELETE_PROJECT) as (connection, before):
            if not _is_empty(connection, before.id):
                raise BadInput(
                    f"The project {slug} has calls, runs or keys: its history stays. Archive it instead."
                )
            for table in (members, saved_views):  # which stand for more than projects, too
                connection.execute(delete(table).where(table.c.scope == before.id))
            for table in ALERT_TABLES:  # which stand for the platform as well, so no foreign key does it
                connection.execute(delete(table).where(table.c.project_id == before.id))
            connection.execute(delete(projects).where(projects.c.id == before.id))
            self._record(connection, actor, Tag.PROJECT_DELETED, before, {"title": before.name}, None)

    def is_empty(self, slug: str, *, actor: Actor) -> bool:
        """Whether the project can be deleted."""
        with self._database.read() as connection:
            return _is_empty(connection, find_for(connection, slug, actor, Action.SEE_SPEND).id)

    def labels(self, slug: str, *, actor: Actor, at: Micros | None = None) -> Mapping[str, str]:
        """The labels of the project, by name: now, or at that instant."""
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            return _labels(connection, project.id, self._database.now(connection) if at is None else at)

    @contextmanager
    def _changing(
        self, slug: str, actor: Actor, what: str, action: Action = Action.CHANGE_PROJECT
    ) -> Iterator[tuple[Connection, Project]]:
        with denials_logged(self._database, actor, what, slug), self._database.write() as connection:
            yield connection, find_for(connection, slug, actor, action, lock=True)

    def _rename(self, connection: Connection, before: Project, title: str, actor: Actor) -> None:
        after = replace(before, name=title)
        connection.execute(update(projects).where(projects.c.id == before.id).values(name=title))
        self._record(connection, actor, Tag.PROJECT_RENAMED, after, {"title": before.name}, {"title": title})

    def _set_label(
        self, connection: Connection, project: Project, name: str, value: str, actor: Actor
    ) -> None:
        now = self._database.now(connection)
        before = _labels(connection, project.id, now)
        if before.get(name, "") == value:
            return
        if value and name not in before and len(before) >= _MOST_LABELS:
            raise BadInput(f"A project has at most {_MOST_LABELS} labels.")
        # A whole day has one value: reports answer it from the totals of the day, and nobody's calls of one
        # day are split between two cost centres.
        since = self._day_start(connection, now)
        here = (project_labels.c.project_id == project.id) & (project_labels.c.name == name)
        connection.execute(delete(project_labels).where(here, project_labels.c.since >= since))
        row = {"project_id": project.id, "name": name, "since": since, "value": value or None}
        connection.execute(insert(project_labels), row)
        was = {"label": name, "value": before.get(name)}
        self._record(connection, actor, Tag.PROJECT_LABELLED, project, was, {"label": name, "value": value})

    def _set_archived(
        self, connection: Connection, actor: Actor, before: Project, at: Micros | None
    ) -> Project:
        connection.execute(update(projects).where(projects.c.id == before.id).values(archived_at=at))
        self._record(
            connection, actor, Tag.PROJECT_ARCHIVED if at else Tag.PROJECT_RESTORED, before, None, None
        )
        return replace(before, archived_at=at)

    def _record(
        self,
        connection: Connection,
        actor: Actor,
        tag: Tag,
        project: Project,
        before: Mapping[str, object] | None,
        after: Mapping[str, object] | None,
    ) -> None:
        now = self._database.now(connection)
        audit.record(connection, now, actor, tag, project.subject, before=before, after=after)


def _clean_label(name: str, value: str) -> tuple[str, str]:
    name, value = name.strip(), value.strip()
    if not _LABEL.fullmatch(name):
        raise BadInput(
            "A label's name has small letters, digits, dots, hyphens and underlines, such as cost_centre."
        )
    if len(value) > _LONGEST_VALUE or not value.isprintable():
        raise BadInput(f"A label's value has at most {_LONGEST_VALUE} characters, on one line.")
    return name, value


def _is_empty(connection: Connection, project_id: str) -> bool:
    # Of calls that are archived only the sums are left here.
    tables = (usage_events, usage_hourly, runs, provider_keys)
    used = [exists().where(table.c.project_id == project_id) for table in tables]
    return not any(connection.execute(select(*used)).one())


def _labels(connection: Connection, project_id: str, at: Micros) -> dict[str, str]:
    statement = (
        select(project_labels.c.name, project_labels.c.value)
        .where(project_labels.c.project_id == project_id, project_labels.c.since <= at)
        .order_by(project_labels.c.name, project_labels.c.since)
    )
    newest = {row.name: row.value for row in connection.execute(statement)}
    return {name: value for name, value in newest.items() if value}
