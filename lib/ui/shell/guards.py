"""Who is looking. The guard is the first statement of every page; it lets nothing through by itself.

Streamlit can be made to run a page without the main script (``facts``: a cold server in the old multipage
mode). So the main script opens a gate in its own thread for the time of one page run, and a page that
finds no open gate shows nothing. What a person may do is decided in lib by role, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import NEEDED, Action, Actor, Origin, allows, local_administrator
from lib.clock import Micros
from lib.errors import Forbidden, ProjectUnknown, SessionEnded
from lib.platform import Platform
from lib.ui.base import address
from lib.ui.base.navigation import in_sample
from lib.ui.base.server import front_door, now
from lib.ui.base.wording import escape
from lib.ui.shell import signin

LOCAL_NAME = "local"
_open: ContextVar[bool] = ContextVar("gate_is_open", default=False)


@dataclass(frozen=True)
class Viewer:
    """The person in front of the screen. ``local``: no sign-in is configured."""

    actor: Actor
    local: bool

    def may(self, action: Action, project_id: str | None = None) -> bool:
        """Whether to offer something. The function that acts checks again."""
        return allows(self.actor, action, project_id)

    def called(self, name: str | None) -> str:
        """``you`` for the viewer themselves, else the name."""
        return "you" if name == self.actor.name else name or "unknown"


def current_viewer() -> Viewer | None:
    """Whoever is signed in now; None where nobody is. Roles are read anew, so call it for each action.

    Raises:
        SignInRefused, SessionEnded: somebody is there, but not let in (any more).
    """
    if front_door().settings.oidc_issuer is not None:
        actor = signin.who()
        return Viewer(actor, local=False) if actor else None
    return Viewer(local_administrator(Origin.BROWSER, LOCAL_NAME), local=True)


@contextmanager
def open_gate() -> Iterator[None]:
    """For the main script alone: around the run of one page, after the sign-in gate."""
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)


def guard() -> Viewer:
    """The first statement of every page: who is looking, or the end of this run."""
    viewer = current_viewer() if _open.get() else None
    if viewer is None:
        st.stop()
    return viewer


def acting() -> Actor:
    """Who acts, read anew: for callbacks, dialogs and fragments, which run without the page around them."""
    viewer = current_viewer()
    if viewer is None:
        raise SessionEnded("You are not signed in. Open this page again to sign in.")
    return viewer.actor


def acting_later() -> Callable[[], Actor]:
    """The same for what Streamlit does after this run, outside of it: who acts is read anew then.

    What it returns raises SessionEnded, SignInRefused.
    """
    if front_door().settings.oidc_issuer is not None:
        return signin.still_there()
    return lambda: local_administrator(Origin.BROWSER, LOCAL_NAME)


@dataclass(frozen=True)
class Visit(Viewer):
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

    def project(self) -> Project:
        """Draw the choice of project, kept in the address as ``?project=``, and return the chosen one."""
        named = st.query_params.get(_PROJECT)
        if named not in self.slugs:
            last = st.session_state.get(_LAST_PROJECT)
            st.query_params[_PROJECT] = last if last in self.slugs else self.slugs[0]
            if named is not None:
                st.warning(escape(ProjectUnknown(named).sentence))
        slug = address.select("Project", _PROJECT, self.slugs, default="", width=190)
        st.session_state[_LAST_PROJECT] = slug
        return self.projects[self.slugs.index(slug)]


_PROJECT = "project"
_LAST_PROJECT = "last_project"


def page(action: Action = Action.SEE_SPEND, *, needs_project: bool = True) -> Visit:
    """The first statement of a page that is for whoever may do ``action`` in at least one project.

    Args:
        action: what one must be allowed to do to see the page; else it says so, and stops.
        needs_project: False for a page that has something to show before there is any project.
    """
    viewer = guard()
    visible = front_door().projects.list(actor=viewer.actor, sample=in_sample())
    allowed = tuple(project for project in visible if viewer.may(action, project.id))
    if visible and not allowed:
        raise Forbidden(
            f"You may not {action.value}. That takes the role {NEEDED[action].name.lower()} in a project; "
            "ask a lead of the project or an administrator."
        )
    if not visible and needs_project:
        _stop_without_project(viewer)
    return Visit(viewer.actor, viewer.local, front_door(), allowed)


def warn_of_unknown_projects(slugs: Sequence[str]) -> None:
    """Say it where the address names a project that is not among those that the viewer can see."""
    if address.has_unknown(_PROJECT, slugs):
        st.warning(escape(f"{ProjectUnknown('').sentence} This page leaves it out."))


def _stop_without_project(viewer: Viewer) -> None:
    from lib.ui.base import notices  # noqa: PLC0415 - the dialog acts for a viewer, too
    from lib.ui.shell import new_project  # noqa: PLC0415 - the dialog acts for a viewer, too

    st.title("No project yet", anchor=False)
    if not viewer.may(Action.CREATE_PROJECT):
        st.caption("There is no project that you can see. Ask a lead to add you to one.")
        st.stop()
    st.caption(
        "A project is one repository or service that Qodex tests. It has its own key, caps and numbers."
    )
    st.button("Create a project", type="primary", on_click=notices.open_dialog, args=(new_project.DIALOG,))
    new_project.draw()
    st.stop()
