"""The card of Plan that says which caps hold and why, what is asked for, and what one may do about it."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Action
from lib.caps.plans import Override
from lib.caps.requests import CapRequest
from lib.formatting import exact
from lib.ui.base import notices
from lib.ui.base.wording import badge, escape
from lib.ui.parts import cards
from lib.ui.plan import plan_dialogs, request_dialogs
from lib.ui.plan.plan_dialogs import caps_of, draw_plan_actions, in_words
from lib.ui.plan.request_dialogs import draw_request_for_more
from lib.ui.shell.page_context import PageContext


def draw_plan_panel(visit: PageContext, project: Project) -> None:
    """Draw it, and the dialog that is open."""
    platform, slug = visit.platform, project.slug
    plan = next(plan for plan in platform.plans.list() if plan.name == project.plan)
    own = platform.plans.override(slug, actor=visit.actor)
    latest = platform.cap_requests.latest(slug, actor=visit.actor)
    waiting = latest if latest and latest.status == "open" else None
    with cards.card():
        cards.heading("Plan and caps")
        rows = {f"Plan {escape(plan.name)}": in_words(caps_of(plan))}
        if own:
            rows["Own caps, in its place"] = _own(own, visit)
        cards.facts(rows, alt="Which caps hold")
        if latest and latest.status in {"open", "declined"}:
            _draw_request(latest, visit)
        _draw_buttons(visit, project, own, waiting)
    draw_plan_actions(visit, project, own)
    draw_request_for_more(visit, project, waiting)


def _own(own: Override, visit: PageContext) -> str:
    end = f"until {exact(own.ends_at, visit.zone)}" if own.ends_at else "without an end"
    return f"{in_words({'5h': own.cap_5h_nano, '7d': own.cap_7d_nano})}, {end}: {escape(own.reason)}"


def _draw_request(asked: CapRequest, visit: PageContext) -> None:
    said = request_dialogs.sentence(asked, visit)
    if asked.status == "open":
        st.markdown(f"{badge('Request', 'orange')} {said}")
    else:
        by = escape(visit.called(asked.decided_by))
        st.markdown(f"{badge('Declined', 'gray')} {said}\n\n:gray[{by}: {escape(asked.answer or '')}]")


def _draw_buttons(
    visit: PageContext, project: Project, own: Override | None, waiting: CapRequest | None
) -> None:
    administrator, lead = visit.may(Action.SET_PLAN), visit.may(Action.ASK_FOR_CAPS, project.id)
    own_request = waiting is not None and visit.is_self(waiting.asked_by)
    with st.container(horizontal=True, gap="xsmall"):
        if administrator:
            if waiting and not own_request:
                notices.opener("Approve", request_dialogs.APPROVE, "check", "primary")
                notices.opener("Decline", request_dialogs.DECLINE, "close")
            notices.opener("Change plan", plan_dialogs.PLAN, "swap_horiz")
            notices.opener("Set own caps", plan_dialogs.CAPS, "tune")
            if own:
                notices.opener("End own caps", plan_dialogs.END, "undo", "tertiary")
            notices.opener("Edit plans", plan_dialogs.PLANS, "edit", "tertiary")
        elif lead:
            notices.opener("Ask for more", request_dialogs.ASK, "front_hand")
    if administrator and own_request:
        st.caption("You asked for this yourself: somebody else who is an administrator decides.")
    elif not lead:
        st.caption(f"{visit.leads(project)} ask for more; administrators decide.")
