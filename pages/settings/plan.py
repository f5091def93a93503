"""Settings > Plan: the project's plan, both rolling windows, and when room returns."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Action
from lib.caps.windows import Headroom
from lib.clock import DAY
from lib.reports.models import UsageFilter
from lib.runs.log import RunFilter
from lib.ui.base.wording import escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards, forecast
from lib.ui.plan import windows
from lib.ui.plan.panel import draw_plan_panel
from lib.ui.plan.window_spend import draw_window_spend
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext, page


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND, title="Plan")
    head = cards.header("Plan")
    with head.right:
        project = visit.project()
    draw_wrong_links()
    head.context(
        f"{escape(project.titled)} · {escape(project.plan)} plan · rolling windows, no reset at midnight"
    )
    keys = visit.platform.keys
    capped = keys.is_capped(keys.describe_each(project.slug, actor=visit.actor))
    _now(visit, project)
    draw_plan_panel(visit, project)
    room = visit.platform.caps.headroom(project.slug, actor=visit.actor)
    _past_and_future(visit, project, room)
    draw_window_spend(visit, project, room)
    if capped:
        windows.draw_ways(project, visit.platform.plans.list(), visit.leads(project))


@st.fragment(run_every="10s")
def _now(visit: PageContext, project: Project) -> None:
    """What moves by itself: it is drawn anew every ten seconds."""
    actor, platform = current_actor(), visit.platform
    keys = platform.keys.describe_each(project.slug, actor=actor)
    capped = platform.keys.is_capped(keys)
    room = platform.caps.headroom(project.slug, actor=actor)
    waiting = platform.runs.number(RunFilter((project.slug,), statuses=("waiting",)), actor=actor)
    funded = platform.keys.is_funded
    cards.attention(
        windows.attention_of(
            project, keys, room, capped=capped, waiting=waiting, funded=funded, zone=visit.zone
        ),
        titled=False,
    )
    for column, window in zip(st.columns(2), room.windows.values(), strict=True):
        with column:
            found = forecast.cap_forecasts({project.slug: window.name}, actor).get(project.slug)
            windows.draw_window(window, room.at, visit.zone, forecast=found, applies=capped)


def _past_and_future(visit: PageContext, project: Project, room: Headroom) -> None:
    caps, slug = visit.platform.caps, project.slug
    week = UsageFilter(projects=(slug,), since=room.at - 7 * DAY + 1, until=room.at + 1)
    # The week ends this very moment, so there is nothing to keep of it.
    spent = visit.platform.reports.totals(week, actor=visit.actor)
    points = caps.consumption(slug, "7d", actor=visit.actor)
    if not any(point.nano for point in points):
        windows.draw_empty_week(spent)
        return
    left, right = st.columns([8, 5])
    with left:
        ahead = forecast.held_forecast(slug, "7d", visit.actor)
        windows.draw_week(points, room.windows["7d"], spent, visit.zone, ahead=ahead)
    with right:
        windows.draw_outlook(caps.forecast(slug, list(windows.AHEAD.values()), actor=visit.actor), visit.zone)


main()
