"""What all sessions of this process share: the settings and the front door. Never a secret in or out."""

from __future__ import annotations

import streamlit as st

from lib.access.roles import Actor, Origin, local_administrator
from lib.clock import Micros
from lib.platform import Platform
from lib.settings import Settings
from lib.web.exports import ExportDesk


@st.cache_resource(show_spinner=False)
def front_door() -> Platform:
    """The one Platform of this process; what is done through it needs an actor each time.

    Raises:
        SettingsError, DatabaseUnavailable: it cannot be opened now; the next rerun tries again.
    """
    settings = Settings.from_env()
    # With sign-in whatever names no actor is done by nobody, who has no rights.
    nobody = Actor("nobody", Origin.BROWSER)
    return Platform(
        settings, actor=nobody if settings.oidc_issuer else local_administrator(Origin.BROWSER, "dashboard")
    )


export_desk = ExportDesk(front_door)
"""The one desk of this process: pages prepare files at it, and links lead to it."""


def now() -> Micros:
    """The time that counts: the database's."""
    database = front_door().database
    with database.read() as connection:
        return database.now(connection)
