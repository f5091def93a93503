"""Settings > Usage: what was used and what it cost, by source, for the filter chosen."""

from __future__ import annotations

import streamlit as st

from lib.formatting import count
from lib.ui.base import filters, loaders, query_state
from lib.ui.base.navigation import USAGE
from lib.ui.base.server import front_door
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.charts import buckets
from lib.ui.overview.first_steps import draw_no_project
from lib.ui.parts import cards, changes_card, spend_card
from lib.ui.parts.changes_card import draw_changes_card
from lib.ui.parts.spend_card import draw_spend_card
from lib.ui.shell import auto_refresh
from lib.ui.shell.guards import PageEnded, guard
from lib.ui.shell.saved_views import draw_saved_views
from lib.ui.usage import summary
from lib.ui.usage.caching_card import draw_caching_card
from lib.ui.usage.export_card import draw_export_card
from lib.ui.usage.group_card import draw_group_card
from lib.ui.usage.usage_calls import draw_costliest_calls
from lib.ui.usage.usage_charts import draw_usage_charts

viewer = guard()
listed = front_door().projects.list(actor=viewer.actor)
projects = {each.slug: each.titled for each in listed}

head = cards.header("Usage")
if not projects:
    head.context("No project yet.")
    draw_no_project(viewer)
    raise PageEnded

with head.right:
    chosen = filters.choose_period()
with st.container(horizontal=True, gap="xsmall"):
    wanted = summary.choose(projects, chosen, viewer.actor)
    query_state.draw_reset(summary.FILTERS)
with head.right:
    draw_saved_views(USAGE, viewer)
draw_wrong_links()
head.context(f"{summary.which(wanted, projects)} · {chosen.label}{auto_refresh.note(chosen)}")

sums = loaders.cached(front_door().reports.totals, wanted, actor=viewer.actor)
everything = loaders.cached(front_door().reports.totals, summary.unfiltered(wanted), actor=viewer.actor)
st.caption(summary.count_line(sums, everything))
summary.draw_archived(wanted, viewer.actor)
if not sums.calls:
    cards.empty()
    auto_refresh.watch(wanted, chosen)
    raise PageEnded

previous = loaders.cached_for_a_minute(
    front_door().reports.totals, filters.before(wanted, chosen), actor=viewer.actor
)
cards.metrics(summary.metrics(sums, previous), before=chosen.before, against=chosen.against)
spend_card.draw_what_byok_is(sums)

series = buckets.time_series(wanted, chosen, viewer.actor)
draw_spend_card(series, title="Spend per {unit} by source, USD")
changes = (
    st.container()
)  # what takes longest has its place, and is asked for when the charts are on their way
draw_group_card(wanted, series, list(projects), viewer.actor)
draw_usage_charts(wanted, series, sums, list(projects), chosen, viewer.actor)
titles = {each.slug: each.name for each in listed}
with changes:
    draw_changes_card(changes_card.Stretches(wanted, sums, previous, chosen, titles), viewer.actor)
draw_caching_card(wanted, sums, chosen, viewer.actor)
draw_costliest_calls(wanted, sums, chosen, viewer.actor)

days = loaders.cached(front_door().reports.by_day, wanted, actor=viewer.actor)
cards.heading(
    "Days", note=f"newest first, days in {series.zone}; the same numbers as the charts and the export"
)
summary.draw_days(days, alt=f"Usage of {count(len(days), 'day')}, newest first")

draw_export_card(wanted, sums, chosen, projects=len(projects))
auto_refresh.watch(wanted, chosen)
