"""Settings > Usage: what was used and what it cost, by source, for the filter chosen."""

from __future__ import annotations

import streamlit as st

from lib.ui import cards, charts, exports, filters, loaders, notices, spend_card, usage, vega
from lib.ui.cards import card, card_title
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
head.context(f"{usage.which(wanted, len(projects))} · {chosen.label}")

sums = loaders.totals(wanted, viewer.actor)
everything = loaders.totals(usage.unfiltered(wanted), viewer.actor)
st.caption(usage.count_line(sums, everything))
if not sums.calls:
    cards.empty()
    notices.draw()
    st.stop()

days = loaders.by_day(wanted, viewer.actor)
zone = chosen.zone.key
previous = loaders.totals(filters.before(wanted, chosen), viewer.actor)
cards.metrics(usage.metrics(sums, previous), before=chosen.before)

spend_card.draw(wanted, chosen, viewer.actor, title="Spend per {step} by source, USD")

models, tokens = vega.level(
    charts.spend_by_model(loaders.by_model(wanted, viewer.actor)), charts.tokens_per_day(days)
)
left, right = st.columns(2)
with left, card(height="stretch"):
    card_title("Spend by model, USD", note="both sources")
    vega.show(models)
with right, card(height="stretch"):
    card_title("Tokens per day, millions", note=usage.cache_share(sums))
    vega.show(tokens)

usage.draw_cap_use(wanted, projects, chosen, viewer.actor)

cards.section("Days", note=f"newest first, days in {zone}; the same numbers as the charts and the export")
usage.draw_days(days, alt=f"Usage of {count(len(days), 'day')}, newest first")

exports.draw(wanted, sums, chosen, projects=len(projects))
notices.draw()
