"""What a person sees when something fails: our own sentence, or an id that an operator finds in the log."""

from __future__ import annotations

import logging
import secrets

import streamlit as st

from lib.errors import QodexError
from lib.ui.base.wording import code, escape

log = logging.getLogger(__name__)


def show_failure(problem: BaseException) -> bool:
    """Show a failure without its traceback. Returns True: Streamlit has nothing to add.

    A QodexError is its sentence. Anything else is a mistake of ours: it goes to the log with an id to quote.
    """
    if isinstance(problem, QodexError):
        log.info("A page showed: %s", problem)
        st.error(escape(problem.sentence), icon=":material/error:")
        return True
    error_id = f"e-{secrets.token_hex(4)}"
    log.error("Error %s on a page", error_id, exc_info=problem)
    st.error(
        f"Nothing was half done. If it happens again, tell an operator the error id {code(error_id)}: "
        "it is in the server's log with the details.",
        title="This page could not be shown",
        icon=":material/error:",
    )
    return True
