"""What administrators change on Plan: the project's plan, caps of its own, and plans; each shown before it is saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib.access.projects import Project
from lib.caps.plans import Override, Plan
from lib.caps.windows import TITLES
from lib.errors import QodexError
from lib.formatting import count, money
from lib.ui.base import loaders, notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.plan import amounts
from lib.ui.plan.amounts import Amounts
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext

PLAN, CAPS, PLANS, END = "plan:change", "plan:caps", "plan:plans", "plan:end-caps"
_NEW = "A new plan"
_NAMED = 5


def draw_plan_actions(visit: PageContext, project: Project, own: Override | None) -> None:
    """Draw the dialog that is open, if any."""
    dialogs: dict[str, tuple[str, Callable[[], None]]] = {
        PLAN: ("Change the plan", lambda: _change_plan(project)),
        CAPS: ("Set caps of its own", lambda: _set_caps(visit, project)),
        PLANS: ("Edit plans", _edit_plans),
    }
    if own:
        dialogs[END] = ("Let the plan's caps hold again?", lambda: _end_caps(project))
    for name, (title, body) in dialogs.items():
        if notices.is_open(name):
            st.dialog(title, width="medium", on_dismiss=notices.close_dialog)(body)()


def caps_of(plan: Plan) -> Amounts:
    """A plan's caps by window."""
    return {"5h": plan.cap_5h_nano, "7d": plan.cap_7d_nano}


def in_words(caps: Amounts) -> str:
    """``$20.00 in 5 hours, $150.00 in 7 days``."""
    return f"{escape(money(caps['5h']))} in 5 hours, {escape(money(caps['7d']))} in 7 days"


def _change_plan(project: Project) -> None:
    platform, actor = front_door(), current_actor()
    plans = platform.plans.list()
    names = [plan.name for plan in plans]
    chosen = st.radio(
        "Plan",
        names,
        index=names.index(project.plan),
        key="plan:chosen",
        format_func=escape,
        captions=[in_words(caps_of(plan)) for plan in plans],
        label_visibility="collapsed",
    )
    plan = plans[names.index(str(chosen))]
    if platform.plans.override(project.slug, actor=actor):
        st.caption("The project has caps of its own: they hold on, whatever its plan.")
    else:
        amounts.draw_effect(platform.caps.headroom(project.slug, actor=actor), caps_of(plan))
    save(
        f"Change to {escape(plan.name)}",
        PLAN,
        lambda: platform.projects.set_plan(project.slug, plan.name, actor=current_actor()),
        f"{escape(project.slug)} has the plan {escape(plan.name)} from its next call on.",
        allowed=plan.name != project.plan,
    )


def _set_caps(visit: PageContext, project: Project) -> None:
    platform, slug = front_door(), project.slug
    room = platform.caps.headroom(slug, actor=current_actor())
    typed = amounts.choose_caps(CAPS, {name: window.cap_nano for name, window in room.windows.items()})
    reason = st.text_input("Why", key="plan:reason", placeholder="Release week", max_chars=500)
    endless = st.checkbox("Without an end", key="plan:endless")
    last = None if endless else amounts.choose_last_day("plan:until", visit.now, visit.zone)
    if typed.problem:
        st.error(escape(typed.problem), icon=":material/error:")
        return
    amounts.draw_effect(room, typed.caps)
    save(
        "Set caps",
        CAPS,
        lambda: platform.plans.set_caps(
            slug,
            cap_5h_nano=typed.caps["5h"],
            cap_7d_nano=typed.caps["7d"],
            reason=reason or "",
            ends_at=amounts.end_of(last, visit.zone) if last else None,
            actor=current_actor(),
        ),
        f"{escape(slug)} has caps of its own from its next call on.",
    )


def _end_caps(project: Project) -> None:
    platform = front_door()
    plan = next(plan for plan in platform.plans.list() if plan.name == project.plan)
    amounts.draw_effect(platform.caps.headroom(project.slug, actor=current_actor()), caps_of(plan))
    save(
        "End own caps",
        END,
        lambda: platform.plans.end_override(project.slug, actor=current_actor()),
        f"The caps of the plan {escape(plan.name)} hold for {escape(project.slug)} again.",
    )


def _edit_plans() -> None:
    platform = front_door()
    plans = {plan.name: plan for plan in platform.plans.list()}
    chosen = str(st.selectbox("Plan", [*plans, _NEW], key="plans:chosen"))
    plan = plans.get(chosen)
    name = plan.name if plan else st.text_input("Name", key="plans:name", max_chars=40)
    typed = amounts.choose_caps(f"{PLANS}:{chosen}", caps_of(plan) if plan else dict.fromkeys(TITLES, 0))
    if typed.problem:
        st.error(escape(typed.problem), icon=":material/error:")
        return
    st.caption(_whom(plan, typed.caps) if plan else "No project has it yet.")
    save(
        "Save plan",
        PLANS,
        lambda: platform.plans.set(
            str(name), cap_5h_nano=typed.caps["5h"], cap_7d_nano=typed.caps["7d"], actor=current_actor()
        ),
        f"Plan {escape(str(name))} saved.",
    )


def _whom(plan: Plan, caps: Amounts) -> str:
    """Whose caps these are, and who would stop at once."""
    rooms = [
        room
        for room in front_door().caps.headroom_all(actor=current_actor()).values()
        if room.plan == plan.name
        and {name: window.cap_nano for name, window in room.windows.items()} == caps_of(plan)
    ]
    stopped = [
        room.project
        for room in rooms
        if room.free_nano and not all(window.free_nano for window in amounts.with_caps(room, caps))
    ]
    have = "has" if len(rooms) == 1 else "have"
    return escape(f"{count(len(rooms), 'project')} {have} these caps. {_stopping(stopped)}")


def _stopping(slugs: Sequence[str]) -> str:
    if not slugs:
        return "None of them would be at a cap at once that is not now."
    more = f" and {len(slugs) - _NAMED} more" if len(slugs) > _NAMED else ""
    return f"At a cap at once: {', '.join(slugs[:_NAMED])}{more}."


def save(act: str, dialog: str, change: Callable[[], Any], done: str, *, allowed: bool = True) -> None:
    """The buttons of a dialog: what it does, and Cancel. A refusal stays in it as a sentence."""
    failure = st.container()
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        yes = st.button(act, key=f"confirm:{dialog}", type="primary", disabled=not allowed)
        if st.button("Cancel", key=f"cancel:{dialog}"):
            notices.close_dialog()
            st.rerun()
    if not yes:
        return
    try:
        change()
    except QodexError as problem:
        failure.error(escape(problem.sentence), icon=":material/error:")
        return
    notices.close_dialog()
    loaders.forget()
    notices.toast(done)
    st.rerun()
