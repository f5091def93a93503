"""Asking for more room, and deciding on it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lib.access.projects import Project
from lib.caps.requests import CapRequest
from lib.ui.base import notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.plan import amounts
from lib.ui.plan.plan_dialogs import in_words, save
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext
from lib.usage.periods import day_of

ASK, APPROVE, DECLINE = "request:ask", "request:approve", "request:decline"


def draw_request_for_more(visit: PageContext, project: Project, waiting: CapRequest | None) -> None:
    """Draw the dialog that is open, if any."""
    dialogs: dict[str, tuple[str, Callable[[], None]]] = {ASK: ("Ask for more", lambda: _ask(visit, project))}
    if waiting:
        dialogs[APPROVE] = ("Approve for a time", lambda: _approve(visit, waiting))
        dialogs[DECLINE] = ("Decline", lambda: _decline(waiting))
    for name, (title, body) in dialogs.items():
        if notices.is_open(name):
            st.dialog(title, width="medium", on_dismiss=notices.close_dialog)(body)()


def sentence(asked: CapRequest, visit: PageContext) -> str:
    """Who asks for what, until when, and why."""
    caps = in_words({"5h": asked.cap_5h_nano, "7d": asked.cap_7d_nano})
    last = day_of(asked.wanted_until - 1, visit.zone)
    who = "You ask" if visit.is_self(asked.asked_by) else f"{escape(asked.asked_by)} asks"
    return f"{who} for {caps}, until {last.day} {last:%b %Y}: {escape(asked.reason)}"


def _ask(visit: PageContext, project: Project) -> None:
    platform = front_door()
    room = platform.caps.headroom(project.slug, actor=current_actor())
    st.markdown("Which caps does the project need, until when, and why? An administrator decides.")
    typed = amounts.choose_caps(ASK, {name: window.cap_nano for name, window in room.windows.items()})
    last = amounts.choose_last_day("request:until", visit.now, visit.zone)
    reason = st.text_input("Why", key="request:reason", placeholder="Release week", max_chars=500)
    if typed.problem:
        st.error(escape(typed.problem), icon=":material/error:")
        return
    save(
        "Ask",
        ASK,
        lambda: platform.cap_requests.ask(
            project.slug,
            cap_5h_nano=typed.caps["5h"],
            cap_7d_nano=typed.caps["7d"],
            until=amounts.end_of(last, visit.zone),
            reason=reason or "",
            actor=current_actor(),
        ),
        "Asked. Administrators see it on Overview.",
    )


def _approve(visit: PageContext, asked: CapRequest) -> None:
    platform = front_door()
    st.markdown(sentence(asked, visit))
    typed = amounts.choose_caps(APPROVE, {"5h": asked.cap_5h_nano, "7d": asked.cap_7d_nano})
    wanted = day_of(asked.wanted_until - 1, visit.zone)
    last = amounts.choose_last_day("request:approved-until", visit.now, visit.zone, default=wanted)
    if typed.problem:
        st.error(escape(typed.problem), icon=":material/error:")
        return
    amounts.draw_effect(platform.caps.headroom(asked.project, actor=current_actor()), typed.caps)
    save(
        "Approve",
        APPROVE,
        lambda: platform.cap_requests.approve(
            asked.project,
            asked.request_id,
            cap_5h_nano=typed.caps["5h"],
            cap_7d_nano=typed.caps["7d"],
            until=amounts.end_of(last, visit.zone),
            actor=current_actor(),
        ),
        f"{escape(asked.project)} has these caps from its next call on.",
    )


def _decline(asked: CapRequest) -> None:
    answer = st.text_input("Why not", key="request:answer", max_chars=500)
    save(
        "Decline",
        DECLINE,
        lambda: front_door().cap_requests.decline(
            asked.project, asked.request_id, answer=answer or "", actor=current_actor()
        ),
        "Declined. The project's leads see why on this page.",
    )
