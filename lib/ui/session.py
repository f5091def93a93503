"""Who is looking, and the one Platform of this server process.

The main script lets a visitor in for the length of one script run; a page that runs without it has no visitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from lib.access.roles import Actor, Origin, local_administrator
from lib.platform import Platform
from lib.settings import Settings

_VISITOR = "_visitor"
_LAST_PROJECT = "_last_project"


@st.cache_resource(show_spinner=False)
def platform() -> Platform:
    """The front door, made once in this process. Raises SettingsError or DatabaseUnavailable until it can be."""
    return Platform(Settings.from_env())


def arriving() -> Actor:
    """Whoever opened this session. In the local mode everyone on this machine is an administrator."""
    return local_administrator(Origin.BROWSER)


@contextmanager
def admitted(actor: Actor) -> Iterator[None]:
    """Let ``actor`` in for this script run."""
    st.session_state[_VISITOR] = actor
    try:
        yield
    finally:
        st.session_state.pop(_VISITOR, None)


def visitor() -> Actor | None:
    """Who was let in, or None where the main script did not run first."""
    found = st.session_state.get(_VISITOR)
    return found if isinstance(found, Actor) else None


def remember_project(slug: str) -> None:
    """Where a page's address names no project, the one looked at last is meant."""
    st.session_state[_LAST_PROJECT] = slug


def last_project() -> str | None:
    """The project looked at last in this session."""
    found = st.session_state.get(_LAST_PROJECT)
    return found if isinstance(found, str) else None
