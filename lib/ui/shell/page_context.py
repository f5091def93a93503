"""What every page begins with: who is looking, and at which projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import NEEDED, Action
from lib.clock import Micros
from lib.errors import Forbidden
from lib.platform import Platform
from lib.ui.base import notices, query_state, wrong_links
from lib.ui.base.navigation import in_sample
from lib.ui.base.server import front_door, now
from lib.ui.base.wording import escape
from lib.ui.shell import new_project
from lib.ui.shell.guards import Viewer, guard
from lib.ui.shell.new_project import draw_new_project

_PROJECT = "project"
_LAST_PROJECT = "last_project"
_PLACE = "place"


@dataclass(frozen=True)
class PageContext(Viewer):
    """One look at one page. ``projects``: those where the viewer may do what the page is for, by slug."""

    platform: Platform
    projects: tuple[Project, ...]

    @cached_property
    def now(self) -> Micros:
        """The database's time at this look."""
        return now()

    @property
    def zone(self) -> ZoneInfo:
        """The reporting time zone of this installation."""
        return self.platform.settings.zone

    @property
    def slugs(self) -> tuple[str, ...]:
        """The short names of ``projects``."""
        return tuple(project.slug for project in self.projects)

    def leads(self, project: Project) -> str:
        """The beginning of a sentence about the leads of a project that says who they are; Markdown."""
        found = self.platform.members.leads(project.slug, actor=self.actor)
        if not found:
            return "Leads of the project (none yet: ask an administrator)"
        return f"Leads of the project ({escape(_some(found))})"

    def project(self, *, archived: bool = False) -> Project:
        """Draw the choice of project, kept in the address as ``?project=``, and return the chosen one.

        Args:
            archived: whether archived ones are among the choices.
        """
        choices = {each.slug: each for each in self.projects if archived or each.archived_at is None}
        if not choices:
            st.caption("All projects are archived. Restore one in Settings > Project.")
            st.stop()
        slugs, named = tuple(choices), st.query_params.get(_PROJECT)
        if named not in slugs:
            last = st.session_state.get(_LAST_PROJECT)
            shown = st.query_params[_PROJECT] = last if last in slugs else slugs[0]
            if named is not None:
                wrong_links.add("project that you can see", shown)
        names = {slug: _name(project) for slug, project in choices.items()}
        width = _width(tuple(names.values()))
        slug = query_state.select(
            "Project", _PROJECT, slugs, default="", width=width, format_func=names.__getitem__
        )
        st.session_state[_LAST_PROJECT] = slug
        close_what_was_opened_elsewhere(slug)
        return choices[slug]


def close_what_was_opened_elsewhere(slug: str | None) -> None:
    """Close the dialog where a page shows another project now, the browser's Back for one: it was not opened for this one.

    ``slug``: which project; None for the platform.
    """
    place = (in_sample(), slug)
    if st.session_state.get(_PLACE, place) != place:
        notices.close_dialog()
    st.session_state[_PLACE] = place


_MOST_NAMED = 5


def _some(emails: Sequence[str]) -> str:
    more = len(emails) - _MOST_NAMED
    return ", ".join(emails[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _leads_of_asked(visible: Sequence[Project], viewer: Viewer) -> str:
    """Who leads the project that the address names, or the only one; a sentence, empty where nobody does."""
    named = [each.slug for each in visible if each.slug == st.query_params.get(_PROJECT)]
    slugs = named or [each.slug for each in visible]
    leads = front_door().members.leads(slugs[0], actor=viewer.actor) if len(slugs) == 1 else []
    return f" Leads of {slugs[0]}: {_some(leads)}." if leads else ""


def _name(project: Project) -> str:
    return f"{project.titled}{' (archived)' if project.archived_at else ''}"


def _width(slugs: Sequence[str]) -> int:
    """Pixels that the longest name takes, with the arrow beside it: a choice that is cut cannot be told from others."""
    return min(560, max(190, 50 + 8 * max(map(len, slugs), default=0)))


def page(action: Action = Action.SEE_SPEND, *, title: str, needs_project: bool = True) -> PageContext:
    """The first statement of a page that is for whoever may do ``action`` in at least one project.

    Args:
        action: what one must be allowed to do to see the page; else it says so, and stops.
        title: of the page, which it has without a project, too.
        needs_project: False for a page that has something to show before there is any project.
    """
    viewer = guard()
    visible = front_door().projects.list(actor=viewer.actor)
    allowed = tuple(project for project in visible if viewer.may(action, project.id))
    if visible and not allowed:
        raise Forbidden(
            f"You may not {action.value}. That takes the role {NEEDED[action].name.lower()} in a project; "
            f"ask a lead of the project or an administrator.{_leads_of_asked(visible, viewer)}"
        )
    if not visible and needs_project:
        _stop_without_project(viewer, title)
    return PageContext(viewer.actor, viewer.local, front_door(), allowed)


def _stop_without_project(viewer: Viewer, title: str) -> None:
    st.title(title, anchor=False)
    if not viewer.may(Action.CREATE_PROJECT):
        st.caption("There is no project that you can see. Ask a lead to add you to one.")
        st.stop()
    st.caption(
        "No project yet. A project is one repository or service that Qodex tests. It has its own key, caps and numbers."
    )
    st.button("Create a project", type="primary", on_click=notices.open_dialog, args=(new_project.DIALOG,))
    draw_new_project()
    st.stop()
