"""A page that outlives its server: what was open in it is closed, and said to be lost."""

from __future__ import annotations

import streamlit as st

from lib.ui.base import notices
from lib.ui.shell.websocket_filter import CAME_BACK, PRESSED

LOST = "The server was restarted in the meantime. What was not saved is lost: open it again."
INTERRUPTED = "The connection was lost for a moment, and nothing was done. Press again."
_KNOWN = "restarts:known"


def say_what_was_lost() -> None:
    """Say it where this process does not know what the browser asked for: that is not drawn any more."""
    known = st.session_state.get(_KNOWN, False)
    st.session_state[_KNOWN] = True
    how = st.query_params.get(CAME_BACK)
    if how is None:
        return
    del st.query_params[CAME_BACK]
    if not known:
        notices.toast(LOST, icon="sync_problem", duration="infinite")
    elif how == PRESSED:
        notices.toast(INTERRUPTED, icon="sync_problem", duration="long")
