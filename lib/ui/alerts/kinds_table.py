"""The types of alerts: how urgent each is, and what is muted."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lib.alerts.kinds import KINDS, TEST, AlertKind
from lib.alerts.preferences import Preferences
from lib.clock import DAY, HOUR
from lib.errors import QodexError
from lib.formatting import exact
from lib.ui.alerts.choosing import choose
from lib.ui.alerts.labels import COLORS, SEVERITIES
from lib.ui.base import notices
from lib.ui.base.badges import badge_column
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.parts import cards
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext

_SPANS = {"1 hour": HOUR, "1 day": DAY, "1 week": 7 * DAY, "30 days": 30 * DAY}
_HOW = {"info": "In the daily digest", "warning": "At once, outside quiet hours", "critical": "At once"}


def draw_kinds_table(slug: str | None, preferences: Preferences, visit: PageContext) -> None:
    """The table; the chosen kind can be muted for a while."""
    cards.heading("Alert types", note="choose one to mute it; muted alerts still appear on this page")
    shown = [kind for kind in KINDS.values() if kind is not TEST and (slug is None or not kind.of_platform)]
    columns: dict[str, list[Any]] = {
        "Alert": [kind.title for kind in shown],
        "Severity": [[SEVERITIES[kind.severity]] for kind in shown],
        "Sent": [_HOW[kind.severity] for kind in shown],
        "Muted until": [_until(kind, preferences, visit) for kind in shown],
    }
    picked = choose(
        columns,
        ids=[kind.name for kind in shown],
        alt="Alert types, their severity and what is muted; choose one to mute it",
        config={"Severity": badge_column(COLORS)},
    )
    if picked is not None:
        _mute(slug, shown[picked], preferences, visit)


def _until(kind: AlertKind, preferences: Preferences, visit: PageContext) -> str:
    until = preferences.muted.get(kind.name)
    return "" if until is None else exact(until, visit.zone, now=visit.now)


def _mute(slug: str | None, kind: AlertKind, preferences: Preferences, visit: PageContext) -> None:
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.markdown(f"Mute **{kind.title.lower()}** for", width="content")
        span = str(
            st.selectbox("For", list(_SPANS), label_visibility="collapsed", width=130, key=f"mute:{slug}")
        )
        muting = st.button("Mute", icon=":material/notifications_off:")
        ending = kind.name in preferences.muted and st.button("Unmute", icon=":material/notifications:")
    if not (muting or ending):
        return
    until = None if ending else visit.now + _SPANS[span]
    try:
        front_door().alerts.preferences.mute(slug, kind.name, until, actor=current_actor())
    except QodexError as problem:
        st.error(escape(str(problem)), icon=":material/error:")
        return
    notices.toast("No longer muted." if ending else f"Muted for {span}.")
    st.rerun()
