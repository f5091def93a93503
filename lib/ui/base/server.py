"""What all sessions of this process share: the settings and the front door. Never a secret in or out."""

from __future__ import annotations

import streamlit as st

from lib.access.roles import Actor, Origin, local_administrator
from lib.clock import Micros
from lib.platform import Platform
from lib.sample.deployment import identity, sample_settings
from lib.settings import Settings
from lib.ui.base.navigation import in_sample
from lib.web.downloads.exports import ExportService


def front_door() -> Platform:
    """The Platform that this page shows: the real one, or the sample deployment where the address asks for it.

    For what runs within a page: its script, callbacks and fragments. What is done through it needs an actor each time.

    Raises:
        SettingsError, DatabaseUnavailable: it cannot be opened now; the next rerun tries again.
    """
    platform = real_front_door()
    sample = identity(platform.settings) if in_sample() else None
    return platform if sample is None else _sample(platform.settings, sample)


def sample_front_door() -> Platform | None:
    """The sample deployment; None where it is not loaded."""
    platform = real_front_door()
    sample = identity(platform.settings)
    return None if sample is None else _sample(platform.settings, sample)


@st.cache_resource(show_spinner=False)
def real_front_door() -> Platform:
    """The one Platform of this process, whatever a page shows.

    Raises:
        SettingsError, DatabaseUnavailable: it cannot be opened now; the next rerun tries again.
    """
    settings = Settings.from_env()
    # With sign-in whatever names no actor is done by nobody, who has no rights.
    nobody = Actor("nobody", Origin.BROWSER)
    platform = Platform(
        settings, actor=nobody if settings.oidc_issuer else local_administrator(Origin.BROWSER, "dashboard")
    )
    platform.serve_metrics()
    return platform


@st.cache_resource(show_spinner=False, max_entries=1)
def _sample(_settings: Settings, loaded: tuple[int, int]) -> Platform:  # noqa: ARG001 - another load is another key
    return Platform(sample_settings(_settings), actor=Actor("nobody", Origin.BROWSER))


export_desk = ExportService(real_front_door, sample_front_door)
"""The one export service of this process: pages prepare files with it, and links lead to it."""


def now() -> Micros:
    """The time that counts: the database's."""
    database = front_door().database
    with database.read() as connection:
        return database.now(connection)
