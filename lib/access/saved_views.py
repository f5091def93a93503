"""Saved views: what the filters of a page say, under a name; a person's own, or shared with a project's members."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import clean_name, find_for
from lib.access.roles import Action, Actor, allows, require
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, saved_views
from lib.errors import BadInput

PERSONAL = "-"
"""The scope of a person's own views; of others it is the project's id."""
LONGEST_NAME, LONGEST_QUERY, MOST = 60, 4_000, 50
_MOST_LISTED = 200
_PAGE = re.compile(r"[a-z_]{0,40}")


@dataclass(frozen=True)
class SavedView:
    """One view. ``project``: the short name of the project whose members see it, None for the viewer's own."""

    view_id: str
    name: str
    page: str
    query: str
    project: str | None
    saved_at: Micros
    saved_by: str
    may_change: bool
    """Whether the viewer may rename and delete it."""


@dataclass(frozen=True)
class _Place:
    """Where a view is changed: the views of one person, or of a project, whose audit log then has it."""

    connection: Connection
    scope: str
    owner: str
    subject: Subject | None = None


class SavedViews:
    """Save, list, rename and delete views. Each function checks the actor's rights itself.

    What is shared with a project is in the audit log; what is a person's own is not, and nobody else sees it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, name: str, *, page: str, query: str, slug: str | None = None, actor: Actor) -> SavedView:
        """Save a view under a new name.

        Args:
            name: one line of at most 60 characters, that no other view of the page has there.
            page: the path of the page's address, empty for the first one.
            query: of the page's address.
            slug: the project whose members shall see it; None: only who saves it.
            actor: who saves it.

        Raises:
            BadInput: the name is taken or cannot be used, there are too many, or a view that is to be shared names
                other projects: who sees this one may not know of them.
            Forbidden: to share takes the role lead; to save takes a role in any project.
        """
        name, query = _clean_name(name), _clean_query(query, slug)
        if not _PAGE.fullmatch(page):
            raise BadInput("There is no such page.")
        with self._changing(slug, actor, "save a view") as place:
            _require_room(place)
            _require_free(place, page, name)
            now = self._database.now(place.connection)
            row = {"id": str(uuid.uuid4()), "scope": place.scope, "owner": place.owner, "page": page}
            row |= {"name": name, "query": query, "saved_by": actor.name}
            place.connection.execute(insert(saved_views), row | {"saved_at": now})
            self._record(place, actor, Tag.VIEW_SHARED, after={"view": name, "page": page or "overview"})
        return SavedView(row["id"], name, page, query, slug, now, actor.name, may_change=True)

    def list(
        self, *, page: str | None = None, slugs: Sequence[str] = (), actor: Actor
    ) -> Sequence[SavedView]:
        """Own views, then those of projects that the actor may see; by project and name, 200 at most.

        Args:
            page: only of that page.
            slugs: of shared ones, only those of these projects; of all, where there is none.
            actor: who asks.
        """
        mine = (saved_views.c.scope == PERSONAL) & (saved_views.c.owner == actor.name)
        shared: ColumnElement[bool] = projects.c.slug.in_(slugs) if slugs else projects.c.id.is_not(None)
        if not allows(actor, Action.SEE_SPEND, None):
            shared = shared & projects.c.id.in_(actor.projects)
        wanted = (
            select(saved_views, projects.c.slug)
            .outerjoin(projects, projects.c.id == saved_views.c.scope)
            .where(mine | shared)
            .order_by(projects.c.slug.is_not(None), projects.c.slug, saved_views.c.name)
            .limit(_MOST_LISTED)
        )
        if page is not None:
            wanted = wanted.where(saved_views.c.page == page)
        with self._database.read() as connection:
            return [_view(row, actor) for row in connection.execute(wanted)]

    def rename(self, view_id: str, name: str, *, slug: str | None = None, actor: Actor) -> None:
        """Give a view another name. Raises BadInput, Forbidden, as ``save`` does."""
        name = _clean_name(name)
        with self._changing(slug, actor, "rename a view") as place:
            found = _find(place, view_id)
            if found.name == name:
                return
            _require_free(place, found.page, name)
            place.connection.execute(update(saved_views).where(*_that(place, view_id)).values(name=name))
            self._record(place, actor, Tag.VIEW_RENAMED, before={"view": found.name}, after={"view": name})

    def delete(self, view_id: str, *, slug: str | None = None, actor: Actor) -> None:
        """Delete a view. Raises BadInput where there is none (any more), Forbidden."""
        with self._changing(slug, actor, "delete a view") as place:
            found = _find(place, view_id)
            place.connection.execute(delete(saved_views).where(*_that(place, view_id)))
            self._record(place, actor, Tag.VIEW_DELETED, before={"view": found.name})

    @contextmanager
    def _changing(self, slug: str | None, actor: Actor, what: str) -> Iterator[_Place]:
        with denials_logged(self._database, actor, what, slug), self._database.write() as connection:
            if slug is None:
                _require_any_role(actor)
                yield _Place(connection, PERSONAL, actor.name)
            else:
                project = find_for(connection, slug, actor, Action.SHARE_VIEWS, lock=True)
                yield _Place(connection, project.id, "", project.subject)

    def _record(
        self,
        place: _Place,
        actor: Actor,
        tag: Tag,
        *,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        if place.subject is not None:
            now = self._database.now(place.connection)
            audit.record(place.connection, now, actor, tag, place.subject, before=before, after=after)


def _view(row: AnyRow, actor: Actor) -> SavedView:
    own = row.scope == PERSONAL
    return SavedView(
        row.id,
        row.name,
        row.page,
        row.query,
        None if own else row.slug,
        row.saved_at,
        row.saved_by,
        own or allows(actor, Action.SHARE_VIEWS, row.scope),
    )


def _clean_name(text: str) -> str:
    if len(text.strip()) > LONGEST_NAME:
        raise BadInput(f"A view's name has at most {LONGEST_NAME} characters.")
    return clean_name(text)


def _clean_query(query: str, slug: str | None) -> str:
    if len(query) > LONGEST_QUERY or not query.isprintable():
        raise BadInput("These filters name too much for a view. Choose fewer.")
    named = {value for name, value in parse_qsl(query) if name == "project"}
    if slug is not None and named - {slug}:
        raise BadInput(
            f"A view for the members of {slug} may name no other project: they may not know of it. "
            "Take the others out of the filter, or save the view for yourself."
        )
    return query


def _require_any_role(actor: Actor) -> None:
    for project_id in (None, *actor.projects):
        if allows(actor, Action.SEE_SPEND, project_id):
            return
    require(actor, Action.SEE_SPEND, None)


def _require_room(place: _Place) -> None:
    here = select(func.count()).where(*_there(place))
    if place.connection.execute(here).scalar_one() >= MOST:
        raise BadInput(f"There are {MOST} views already. Delete one first.")


def _require_free(place: _Place, page: str, name: str) -> None:
    that = select(saved_views.c.id).where(
        *_there(place), saved_views.c.page == page, saved_views.c.name == name
    )
    if place.connection.execute(that).first():
        raise BadInput("There is a view of that name already. Choose another name, or delete that one.")


def _there(place: _Place) -> tuple[ColumnElement[bool], ...]:
    return saved_views.c.scope == place.scope, saved_views.c.owner == place.owner


def _that(place: _Place, view_id: str) -> tuple[ColumnElement[bool], ...]:
    return *_there(place), saved_views.c.id == view_id


def _find(place: _Place, view_id: str) -> AnyRow:
    row = place.connection.execute(select(saved_views).where(*_that(place, view_id))).first()
    if row is None:
        raise BadInput("There is no such view any more. Open the list again.")
    return row
