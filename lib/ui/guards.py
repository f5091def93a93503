"""The first statement of each page: who is here, what they may see, and which project they look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import NEEDED, Action, Actor, allows
from lib.clock import Micros
from lib.errors import Forbidden, ProjectUnknown
from lib.platform import Platform
from lib.ui import session
from lib.ui.dialogs import create_project
from lib.ui.wording import plain

PROJECT = "project"
"""The name of the parameter in the page's address."""


@dataclass(frozen=True)
class Visit:
    """One look at one page.

    Attributes:
        actor: the person; hand it to every function of ``platform``.
        platform: the front door of this process.
        projects: those where the person may do what the page is for, by slug.
        action: what the page is for.
    """

    actor: Actor
    platform: Platform
    projects: tuple[Project, ...]
    action: Action

    @cached_property
    def now(self) -> Micros:
        """The database's time at the first use of this look."""
        with self.platform.database.read() as connection:
            return self.platform.database.now(connection)

    @property
    def zone(self) -> ZoneInfo:
        """The reporting time zone of this installation."""
        return self.platform.settings.zone

    @property
    def slugs(self) -> tuple[str, ...]:
        """The short names of ``projects``."""
        return tuple(project.slug for project in self.projects)

    def may(self, action: Action, project: Project | None = None) -> bool:
        """Whether to offer an action. What decides is the check inside ``lib``, when it is done."""
        return allows(self.actor, action, project.id if project else None)

    def project(self) -> Project:
        """Draw the choice of project, kept in the address as ``?project=``, and return the chosen one."""
        named = st.query_params.get(PROJECT)
        if named is not None and named not in self.slugs:
            st.warning(plain(str(ProjectUnknown(named))))
        if named not in self.slugs and st.session_state.get(PROJECT) not in self.slugs:
            last = session.last_project()
            st.session_state[PROJECT] = last if last in self.slugs else self.slugs[0]
        chosen = st.selectbox(
            "Project",
            self.slugs,
            index=None,  # so that the address always names the project, the first one too
            key=PROJECT,
            required=True,
            bind="query-params",
            label_visibility="collapsed",
        )
        project = next((each for each in self.projects if each.slug == chosen), self.projects[0])
        session.remember_project(project.slug)
        return project


def page(action: Action = Action.SEE_SPEND, *, needs_project: bool = True) -> Visit:
    """Open a page for whoever may do ``action`` in at least one project; else say why not, and stop.

    Args:
        action: what one must be allowed to do to see the page.
        needs_project: False for a page that has something to show before there is any project.
    """
    actor = session.visitor()
    if actor is None:
        st.stop()  # the main script did not run first: nothing is shown to somebody unknown
    platform = session.platform()
    visible = platform.projects.list(actor=actor)
    allowed = tuple(project for project in visible if allows(actor, action, project.id))
    if visible and not allowed:
        raise Forbidden(
            f"You may not {action.value}. That takes the role {NEEDED[action].name.lower()} in a project; "
            "ask a lead of the project or an administrator."
        )
    if not visible and needs_project:
        _stop_without_project(platform, actor)
    return Visit(actor, platform, allowed, action)


def _stop_without_project(platform: Platform, actor: Actor) -> None:
    st.title("No project yet")
    if not allows(actor, Action.CREATE_PROJECT, None):
        st.caption(plain("There is no project that you can see. Ask a lead to add you to one."))
        st.stop()
    st.caption(
        "A project is one repository or service that Qodex tests. It has its own key, caps and numbers."
    )
    if st.button("Create a project", type="primary"):
        create_project(platform, actor)
    st.stop()
