"""Creating a project in the browser."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.errors import QodexError
from lib.ui.base import loaders, notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.shell.guards import current_actor

DIALOG = "new-project"


def draw_new_project() -> None:
    """Draw the dialog if it is open."""
    if notices.is_open(DIALOG):
        st.dialog("Create a project", on_dismiss=notices.close_dialog)(_body)()


def _body() -> None:
    with st.form("new-project:form", border=False):
        slug = st.text_input(
            "Short name",
            key="new-project:slug",
            placeholder="checkout-api",
            help="Small letters, digits and hyphens. It is in addresses and exports and cannot be changed.",
        )
        name = st.text_input("Title (optional)", key="new-project:name", placeholder="Checkout API")
        failure = st.container()
        with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
            # Enter presses the first button of a form.
            sent = st.form_submit_button("Create project", type="primary")
            cancelled = st.form_submit_button("Cancel")
    if cancelled:
        notices.close_dialog()
        st.rerun()
    if sent:
        made = _create(slug or "", (name or "").strip())
        if isinstance(made, Project):
            notices.close_dialog()
            loaders.forget()
            notices.toast(f"Project {escape(made.slug)} created.")
            st.rerun()
        failure.error(escape(str(made)), icon=":material/error:")


def _create(slug: str, name: str) -> Project | QodexError:
    try:
        return front_door().projects.add(slug, name=name or None, actor=current_actor())
    except QodexError as problem:
        return problem
