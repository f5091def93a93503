"""The main script: every run of every page begins here, at the sign-in gate. Served by ``app.py``.

It is not beside ``pages/``: there Streamlit would serve pages past the gate on a cold server.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from lib.ui.base import navigation, query_state, wrong_links
from lib.ui.base.notices import draw_notices
from lib.ui.shell import restarts, sample_workspace, signin
from lib.ui.shell.failures import show_failure
from lib.ui.shell.guards import Viewer, current_viewer, open_gate

STATIC = Path(__file__).parent / "static"


def _draw_logo() -> None:
    shade = "dark" if st.context.theme.type == "dark" else "light"
    st.logo(str(STATIC / f"logo-{shade}.png"), size="large", icon_image=str(STATIC / f"icon-{shade}.png"))


def main() -> None:
    """Look who is there, then run the page that the address names."""
    st.set_page_config(
        page_title="Qodex", page_icon=str(STATIC / "favicon.png"), layout="wide", initial_sidebar_state=220
    )
    _draw_logo()
    page = st.navigation([each.for_streamlit for each in navigation.pages()], position="hidden")
    viewer = signin.pass_gate(current_viewer)
    wrong_links.begin()
    restarts.say_what_was_lost()
    sample_workspace.leave_what_is_gone()
    navigation.draw_first_section(viewer.actor)
    # The browser draws what comes first first: where that is a chart, the rest of the sidebar waits for the page.
    late = navigation.begins_with_chart(page.url_path)
    if not late:
        _draw_rest_of_sidebar(viewer)
    draw_notices()
    try:
        with open_gate():
            page.run()
    finally:
        if late:
            _draw_rest_of_sidebar(viewer)
        query_state.remember()


def _draw_rest_of_sidebar(viewer: Viewer) -> None:
    navigation.draw_other_sections(viewer.actor, local=viewer.local)
    sample_workspace.draw_sidebar(viewer.actor)
    if not viewer.local:
        signin.draw_person(viewer.actor)


try:
    main()
except Exception as problem:  # noqa: BLE001 - whatever it is, a person sees a sentence
    show_failure(problem)
