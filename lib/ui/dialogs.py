"""Small windows that more than one page opens."""

from __future__ import annotations

import streamlit as st

from lib.access.roles import Actor
from lib.errors import QodexError
from lib.ui.server import front_door
from lib.ui.wording import escape


@st.dialog("Create a project")
def create_project(actor: Actor) -> None:
    """Ask for a project's names and create it; then the page runs again, with that project chosen."""
    with st.form("create_project", border=False):
        slug = st.text_input(
            "Short name",
            placeholder="checkout-api",
            max_chars=60,
            help="Small letters, digits and hyphens. It stays as it is: workers and links use it.",
        )
        name = st.text_input("Name (optional)", placeholder="Checkout API", max_chars=200)
        wanted = st.form_submit_button("Create project", type="primary")
    if not wanted:
        return
    try:
        project = front_door().projects.add(slug or "", name=name or None, actor=actor)
    except QodexError as problem:
        st.error(escape(str(problem)), icon=":material/error:")
        return
    st.query_params["project"] = project.slug
    st.rerun()
