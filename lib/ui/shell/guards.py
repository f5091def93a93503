"""Who is looking. The guard is the first statement of every page; it lets nothing through by itself.

Streamlit can be made to run a page without the main script (``facts``: a cold server in the old multipage
mode). So the main script opens a gate in its own thread for the time of one page run, and a page that
finds no open gate shows nothing. What a person may do is decided in lib by role, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

import streamlit as st

from lib.access.roles import Action, Actor, Origin, allows, local_administrator
from lib.errors import SessionEnded
from lib.sample.deployment import visitor
from lib.ui.base.navigation import in_sample
from lib.ui.base.server import real_front_door
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

    def is_self(self, name: str | None) -> bool:
        """Whether somebody is the viewer themselves."""
        return name == self.actor.name

    def called(self, name: str | None) -> str:
        """``you`` for the viewer themselves, else the name."""
        return "you" if name == self.actor.name else name or "unknown"


def current_viewer() -> Viewer | None:
    """Whoever is signed in now; None where nobody is. Roles are read anew, so call it for each action.

    Raises:
        SignInRefused, SessionEnded: somebody is there, but not let in (any more).
    """
    if real_front_door().settings.oidc_issuer is not None:
        actor = signin.who()
        return Viewer(_here(actor), local=False) if actor else None
    return Viewer(local_administrator(Origin.BROWSER, LOCAL_NAME), local=True)


def _here(actor: Actor) -> Actor:
    """In the sample deployment everybody may look around as a lead does; nothing there is real."""
    return visitor(actor) if in_sample() else actor


class PageEnded(Exception):
    """A page has no more to show. Not ``st.stop``, after which the rest of the sidebar could not be drawn either."""


@contextmanager
def open_gate() -> Iterator[None]:
    """For the main script alone: around the run of one page, after the sign-in gate."""
    token = _open.set(True)
    try:
        with suppress(PageEnded):
            yield
    finally:
        _open.reset(token)


def guard() -> Viewer:
    """The first statement of every page: who is looking, or the end of this run."""
    viewer = current_viewer() if _open.get() else None
    if viewer is None:
        st.stop()
    return viewer


def current_actor() -> Actor:
    """Who acts, read anew: for callbacks, dialogs and fragments, which run without the page around them."""
    viewer = current_viewer()
    if viewer is None:
        raise SessionEnded("You are not signed in. Open this page again to sign in.")
    return viewer.actor


def deferred_actor() -> Callable[[], Actor]:
    """Who acts, for what Streamlit does after this run and outside of it: read anew then.

    What it returns raises SessionEnded, SignInRefused.
    """
    if real_front_door().settings.oidc_issuer is not None:
        who, sample = signin.still_there(), in_sample()
        return (lambda: visitor(who())) if sample else who
    return lambda: local_administrator(Origin.BROWSER, LOCAL_NAME)
