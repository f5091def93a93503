"""One sentence that survives the rerun after an action, and which dialog is open."""

from __future__ import annotations

from typing import Literal

import streamlit as st
from streamlit.errors import StreamlitAPIException

_SAID = "notice:said"
_OPEN = "notice:dialog"


def toast(
    sentence: str, *, icon: str = "check_circle", duration: Literal["short", "long", "infinite"] = "short"
) -> None:
    """Show ``sentence`` (Markdown) once, on the next run; ``infinite``: until it is closed."""
    st.session_state[_SAID] = (sentence, icon, duration)


def draw_notices() -> None:
    """Show what was said; the main script does it for every page."""
    said = st.session_state.pop(_SAID, None)
    if said is not None:
        sentence, icon, duration = said
        st.toast(sentence, icon=f":material/{icon}:", duration=duration)


def open_dialog(name: str) -> None:
    """For a button's ``on_click``: the page draws that dialog until it is closed."""
    st.session_state[_OPEN] = name


def opener(
    label: str,
    dialog: str,
    icon: str,
    kind: Literal["primary", "secondary", "tertiary"] = "secondary",
) -> None:
    """The button that opens a dialog."""
    st.button(
        label,
        key=f"open:{dialog}",
        type=kind,
        icon=f":material/{icon}:",
        on_click=open_dialog,
        args=(dialog,),
    )


def close_dialog() -> None:
    """Closed by a button, the cross, Escape or a click beside it."""
    st.session_state.pop(_OPEN, None)


def confirmed(act: str, dialog: str) -> bool:
    """The buttons of a dialog that asks first: the act itself, and Cancel, which closes it."""
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        yes = st.button(act, key=f"confirm:{dialog}", type="primary")
        if st.button("Cancel", key=f"cancel:{dialog}"):
            close_dialog()
            st.rerun()
    return yes


def is_open(name: str) -> bool:
    """Whether to draw that dialog."""
    return bool(st.session_state.get(_OPEN) == name)


def is_any_open() -> bool:
    """Whether somebody is typing into a dialog: the page around it does not run by itself then."""
    return _OPEN in st.session_state


def draw_dialog_again() -> None:
    """Run the open dialog again, and the page around it only where the page runs anyway."""
    try:
        st.rerun(scope="fragment")
    except StreamlitAPIException:
        st.rerun()
