"""What a person sees when something fails: our own sentence, or an id that an operator finds in the log."""

from __future__ import annotations

import logging
import secrets

import streamlit as st

from lib.errors import DatabaseUnavailable, QodexError
from lib.ui.base.server import real_front_door
from lib.ui.base.wording import code, escape

log = logging.getLogger(__name__)
_TRY_AGAIN_SECONDS = 5


def show_failure(problem: BaseException) -> bool:
    """Show a failure without its traceback. Returns True: Streamlit has nothing to add.

    A QodexError is its sentence. Anything else is a mistake of ours: it goes to the log with an id to quote.
    """
    if isinstance(problem, QodexError):
        log.info("A page showed: %s", problem)
        st.error(escape(problem.sentence), icon=":material/error:")
        if isinstance(problem, DatabaseUnavailable):
            _come_back()
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


@st.fragment(run_every=_TRY_AGAIN_SECONDS)
def _come_back() -> None:
    """Run the page again as soon as the database answers: nobody should have to find out by pressing keys."""
    if is_answering():
        st.rerun()
    st.caption("This page comes back by itself as soon as the database answers.")


def is_answering() -> bool:
    """Whether the database does; for what a page asks for by itself, which waits for it without a word."""
    try:
        database = real_front_door().database
        with database.read() as connection:
            database.now(connection)
    except DatabaseUnavailable:
        return False
    return True
