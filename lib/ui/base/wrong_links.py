"""What a link asks for and is not there is said, and its address corrected: nothing else is shown in silence."""

from __future__ import annotations

import streamlit as st

from lib.ui.base.wording import escape

_FOUND = "wrong_links:found"


def begin() -> None:
    """A page begins: nothing is wrong with its address so far."""
    st.session_state[_FOUND] = []


def add(noun: str, shown: str) -> None:
    """The address names a period, a zone, a project that there is not; ``shown``: what stands in its place."""
    sentence = f"This link names no such {noun}; showing {shown}."
    found = st.session_state.setdefault(_FOUND, [])
    if sentence not in found:
        found.append(sentence)


def draw_wrong_links() -> None:
    """One line for all of it, where the page's choices have been made; nothing where nothing is wrong."""
    found, st.session_state[_FOUND] = st.session_state.get(_FOUND), []
    if found:
        st.warning(escape(" ".join(found)), icon=":material/link_off:")
