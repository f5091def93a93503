"""A page that follows what happens: it runs again when there are new calls, and only then.

Streamlit sends the browser what differs from what it shows; a chart that did not change is not drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from lib.access.roles import Actor
from lib.clock import SECOND, Micros
from lib.reports.models import UsageFilter
from lib.ui.base import notices, query_state
from lib.ui.base.filters import Chosen
from lib.ui.base.loaders import SECONDS_KEPT
from lib.ui.base.server import front_door, now
from lib.ui.shell.failures import is_answering
from lib.ui.shell.guards import current_actor

EVERY_SECONDS = 5
_DRAWN = "live:drawn"
NOTE = " · updates live"


def note(chosen: Chosen) -> str:
    """For the context line, where the period lasts until now."""
    return NOTE if _lasts(chosen) else ""


def watch(
    wanted: UsageFilter,
    chosen: Chosen,
    *,
    state: Callable[[Actor], tuple[Micros, object]] | None = None,
    seen: object = None,
) -> None:
    """Draw last.

    Args:
        wanted: which calls the page is about.
        chosen: its period.
        state: what else there is, and when it was looked at; the page runs again when that is not what was ``seen``.
        seen: what the page shows of that.
    """
    if _lasts(chosen) and not notices.is_any_open():
        st.session_state[_DRAWN] = True
        _watch(wanted, chosen, state, seen)


@st.fragment(run_every=EVERY_SECONDS)
def _watch(
    wanted: UsageFilter,
    chosen: Chosen,
    state: Callable[[Actor], tuple[Micros, object]] | None,
    seen: object,
) -> None:
    if st.session_state.pop(_DRAWN, False) or not query_state.is_current():
        return  # with the page itself, this very moment; or the browser has not heard yet of what is chosen
    if not is_answering():
        st.caption(
            "The database does not answer. These are the figures of before; they are followed again as soon as it does."
        )
        return
    actor = current_actor()
    # What the page shows may have been kept for some seconds before it was drawn.
    since = chosen.now - SECONDS_KEPT * SECOND
    newer = replace(wanted, since=since, until=now() + 1)
    if front_door().reports.totals(newer, actor=actor).calls or (
        state and _is_another(*state(actor), seen, chosen)
    ):
        st.rerun()


def _is_another(at: Micros, now_shown: object, seen: object, chosen: Chosen) -> bool:
    """Whether it was looked at after the page was drawn, and is not what the page shows."""
    return at > chosen.now and now_shown != seen


def _lasts(chosen: Chosen) -> bool:
    return chosen.period.until >= chosen.now
