"""Settings > Usage: what was used and what it cost, by source, for the filter chosen."""

from __future__ import annotations

import streamlit as st

from lib.ui import (
    cards,
    exports,
    filters,
    live,
    loaders,
    notices,
    spend_card,
    steps,
    usage,
    usage_calls,
    usage_charts,
)
from lib.ui.first_steps import draw_no_project
from lib.ui.guards import guard, warn_of_unknown_projects
from lib.ui.wording import count

viewer = guard()
projects = filters.projects_of(viewer.actor)

head = cards.header("Usage")
if not projects:
    head.context("No project yet.")
    draw_no_project(viewer)
    st.stop()

with head.right:
    chosen = filters.choose_period()
warn_of_unknown_projects(projects)
with st.container(horizontal=True, gap="xsmall"):
    wanted = usage.choose(projects, chosen, viewer.actor)
    st.button(
        "Reset filters",
        key="usage:reset",
        type="tertiary",
        icon=":material/restart_alt:",
        on_click=usage.reset,
    )
head.context(f"{usage.which(wanted, len(projects))} · {chosen.label}{live.note(chosen)}")

sums = loaders.totals(wanted, viewer.actor)
everything = loaders.totals(usage.unfiltered(wanted), viewer.actor)
st.caption(usage.count_line(sums, everything))
if not sums.calls:
    cards.empty()
    notices.draw()
    live.watch(wanted, chosen)
    st.stop()

previous = loaders.totals(filters.before(wanted, chosen), viewer.actor)
cards.metrics(usage.metrics(sums, previous), before=chosen.before)

course = steps.course(wanted, chosen, viewer.actor)
spend_card.draw(course, title="Spend per {unit} by source, USD")
usage_charts.draw(wanted, course, sums, projects, chosen, viewer.actor)
usage_calls.draw(wanted, chosen, viewer.actor)

days = loaders.by_day(wanted, viewer.actor)
cards.heading(
    "Days", note=f"newest first, days in {course.zone}; the same numbers as the charts and the export"
)
usage.draw_days(days, alt=f"Usage of {count(len(days), 'day')}, newest first")

exports.draw(wanted, sums, chosen, projects=len(projects))
notices.draw()
live.watch(wanted, chosen)
