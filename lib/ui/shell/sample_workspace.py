"""Real projects or sample data: which of the two a page shows. Never both: the address says ``sample=1``."""

from __future__ import annotations

import streamlit as st

from lib.access.roles import Action, Actor, allows
from lib.errors import QodexError
from lib.sample import deployment
from lib.ui.base import loaders, notices
from lib.ui.base.navigation import OVERVIEW, SAMPLE, go, in_sample
from lib.ui.base.server import real_front_door
from lib.ui.base.wording import badge, escape
from lib.ui.shell.guards import current_actor

REMOVING = "sample:remove"


def leave_what_is_gone() -> None:
    """A kept link into sample data that was removed since shows the real projects, and says so."""
    if in_sample() and not deployment.is_loaded(real_front_door().settings):
        del st.query_params[SAMPLE]
        notices.toast("The sample data was removed. These are the real projects.", icon="info")


def draw_sidebar(actor: Actor) -> None:
    """What the sample data is, and the way in or out; nothing where there is none."""
    loaded = in_sample() or deployment.is_loaded(real_front_door().settings)
    if not loaded:
        return
    with st.sidebar:
        st.space("small")
        with st.container(gap="xxsmall"):
            if in_sample():
                st.markdown(badge("Sample data", "orange"))
                st.caption("Made up, in a database of its own.")
                _switch("Back to real projects", "logout", sample_data=False)
                if allows(actor, Action.CREATE_PROJECT, None):
                    notices.opener("Remove the sample data", REMOVING, "delete", "tertiary")
                _draw_removal()
            else:
                _switch("Show the sample data", "experiment", sample_data=True)


def draw_offer(actor: Actor) -> None:
    """The button that loads the sample data and goes there."""
    allowed = allows(actor, Action.CREATE_PROJECT, None)
    pressed = st.button(
        "Explore with sample data",
        key="sample:load",
        icon=":material/experiment:",
        disabled=not allowed,
        help=None if allowed else "Only administrators load sample data.",
    )
    if pressed:
        with st.spinner("Making 8 projects with 120 days of calls. This takes some seconds."):
            problem = _load()
        if problem is not None:
            st.error(escape(str(problem)), icon=":material/error:")
            return
        go(OVERVIEW, **{SAMPLE: "1"})


def _load() -> QodexError | None:
    platform = real_front_door()
    try:
        if not deployment.is_loaded(platform.settings):
            deployment.load(platform, current_actor())
    except QodexError as problem:
        return problem
    return None


def _draw_removal() -> None:
    if notices.is_open(REMOVING):
        st.dialog("Remove the sample data?", on_dismiss=notices.close_dialog)(_removal)()


def _removal() -> None:
    st.markdown("All sample projects go, with their calls, runs and keys. Real projects are not touched.")
    failure = st.container()
    if not notices.confirmed("Remove", REMOVING):
        return
    try:
        deployment.remove(real_front_door(), current_actor())
    except QodexError as problem:
        failure.error(escape(str(problem)), icon=":material/error:")
        return
    loaders.forget()
    notices.close_dialog()
    notices.toast("The sample data was removed.")
    go(OVERVIEW, **{SAMPLE: ""})


def _switch(label: str, icon: str, *, sample_data: bool) -> None:
    """A button: a link to Overview would be marked as the page that is open, beside the one that is."""
    st.button(
        label,
        key="sample:switch",
        icon=f":material/{icon}:",
        type="tertiary",
        on_click=lambda: go(OVERVIEW, **{SAMPLE: "1" if sample_data else ""}),
    )
