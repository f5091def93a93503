"""What was told lately: the alerts, whom each went to, and what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.alerts.history import Delivery, SentAlert
from lib.errors import QodexError
from lib.formatting import count, exact
from lib.ui.alerts.choosing import choose
from lib.ui.alerts.labels import COLORS, SEVERITIES, kind_title
from lib.ui.base import notices
from lib.ui.base.badges import badge_column
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.parts import cards
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext

_STATES = {"sent": "Accepted", "due": "On its way", "failed": "Given up", "dropped": "Dropped"}
_STATE_COLORS = {"Accepted": "green", "On its way": "gray", "Given up": "red", "Dropped": "gray"}


def draw_delivery_list(
    slug: str | None, found: Sequence[SentAlert], visit: PageContext, *, may_send: bool
) -> None:
    """The last alerts; the chosen one is told whole, with its deliveries."""
    cards.heading("Recent alerts", note=f"the last {len(found)}" if len(found) > 1 else "")
    if not found:
        st.caption("No alerts yet. They appear here as soon as one fires.")
        return
    columns: dict[str, list[Any]] = {
        "When": [exact(each.at, visit.zone, now=visit.now) for each in found],
        "Severity": [[SEVERITIES[each.severity]] for each in found],
        "Alert": [each.title for each in found],
        "Sent to": [_summary(each, may_see=may_send) for each in found],
    }
    if not may_send:
        del columns["Sent to"]
    picked = choose(
        columns,
        ids=[each.event_id for each in found],
        alt=f"The last {count(len(found), 'alert')}; choose one to read it",
        config={"Severity": badge_column(COLORS), "Alert": st.column_config.TextColumn(width="large")},
    )
    if picked is not None:
        _one(slug, found[picked], visit, may_send=may_send)


def _summary(each: SentAlert, *, may_see: bool) -> str:
    if each.muted:
        return "Muted"
    if not each.deliveries or not may_see:
        return "No channel"
    states = Counter(delivery.state for delivery in each.deliveries)
    return ", ".join(f"{number} {_STATES[state].lower()}" for state, number in states.items())


def _one(slug: str | None, each: SentAlert, visit: PageContext, *, may_send: bool) -> None:
    st.markdown(f"**{escape(each.title)}**  \n{escape(each.text)}")
    if not each.deliveries:
        return
    columns: dict[str, list[Any]] = {
        "To": [delivery.to for delivery in each.deliveries],
        "By": [kind_title(delivery.kind) for delivery in each.deliveries],
        "State": [[_STATES[delivery.state]] for delivery in each.deliveries],
        "Tried": [delivery.attempts for delivery in each.deliveries],
        "Answer": [delivery.answer or "" for delivery in each.deliveries],
        "When": [_when(delivery, visit) for delivery in each.deliveries],
    }
    picked = choose(
        columns,
        ids=[f"{delivery.event_id} {delivery.target}" for delivery in each.deliveries],
        alt=f"{len(each.deliveries)} deliveries of this alert; choose one to send it again",
        config={"State": badge_column(_STATE_COLORS)},
    )
    if picked is not None and may_send and st.button("Send again", icon=":material/replay:"):
        _send_again(slug, each.deliveries[picked])


def _when(delivery: Delivery, visit: PageContext) -> str:
    if delivery.sent_at is not None:
        return exact(delivery.sent_at, visit.zone, now=visit.now)
    if delivery.state == "due":
        what = "in the digest" if delivery.bundle == "digest" else "next"
        return f"{what} at {exact(delivery.next_at, visit.zone, now=visit.now)}"
    return "" if delivery.tried_at is None else exact(delivery.tried_at, visit.zone, now=visit.now)


def _send_again(slug: str | None, delivery: Delivery) -> None:
    try:
        front_door().alerts.history.send_again(
            slug, delivery.event_id, delivery.target, actor=current_actor()
        )
    except QodexError as problem:
        st.error(escape(str(problem)), icon=":material/error:")
        return
    notices.toast(f"It goes to {escape(delivery.to)} again, within seconds.")
    st.rerun()
