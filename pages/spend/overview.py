"""Spend > Overview: every project at a glance, and what deserves attention."""

from __future__ import annotations

from functools import partial

import streamlit as st

from lib.access.roles import Action
from lib.formatting import count
from lib.reports.models import UsageFilter
from lib.ui.base import filters, loaders, notices
from lib.ui.base.navigation import OVERVIEW, in_sample
from lib.ui.base.server import front_door
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.charts import buckets
from lib.ui.overview import attention, metrics, project_page, table
from lib.ui.overview.first_steps import draw_first_steps
from lib.ui.parts import cards, changes_card, forecast, spend_card
from lib.ui.parts.changes_card import draw_changes_card
from lib.ui.parts.spend_card import draw_spend_card
from lib.ui.shell import auto_refresh, new_project
from lib.ui.shell.guards import PageEnded, guard
from lib.ui.shell.new_project import draw_new_project
from lib.ui.shell.saved_views import draw_saved_views

viewer = guard()
platform = front_door()
projects = [each for each in platform.projects.list(actor=viewer.actor) if each.archived_at is None]

head = cards.header("Spend overview")
if not projects or not platform.reports.any_call(actor=viewer.actor):
    funded = platform.keys.is_funded
    slug = projects[0].slug if projects else None
    keys = platform.keys.describe_each(slug, actor=viewer.actor) if slug else []
    has_key = any(key.version for key in keys)
    three = "Three steps, and the first call shows up here."
    head.context(f"No project yet. {three}" if slug is None else f"No call yet. {three}")
    draw_first_steps(viewer, slug, has_key=has_key, funded=funded)
    raise PageEnded

with head.right, st.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
    labels = filters.choose_labels(loaders.cached(platform.reports.filter_options, actor=viewer.actor).labels)
    chosen = filters.choose_period()
    draw_saved_views(OVERVIEW, viewer)
draw_wrong_links()
wanted = UsageFilter(
    labels=labels, since=chosen.period.since, until=chosen.period.until, zone=chosen.zone.key
)
every, projects = len(projects), table.labelled(projects, wanted, chosen.now, viewer.actor)
head.context(f"{table.all_projects(every, len(projects))} · {chosen.label}{auto_refresh.note(chosen)}")

series = buckets.time_series(wanted, chosen, viewer.actor)
statuses = table.project_statuses(platform, projects, wanted, viewer.actor)
forecasts = table.forecasts_of(statuses, viewer.actor)
with st.container():  # also without a line: what follows keeps its place, and is not drawn anew
    cards.attention(attention.attention_of(platform, statuses, forecasts, wanted, viewer.actor, chosen))

sums = loaders.cached(front_door().reports.totals, wanted, actor=viewer.actor)
previous = loaders.cached_for_a_minute(
    front_door().reports.totals, filters.before(wanted, chosen), actor=viewer.actor
)
near = metrics.near_caps(statuses, chosen, viewer.actor)
numbers = metrics.metrics(sums, previous, series.rows, statuses, near)
draw_lines = cards.metrics(numbers, before=chosen.before, against=chosen.against)
spend_card.draw_what_byok_is(sums)

if sums.calls:
    draw_spend_card(series, title="Spend per {unit}, USD")
else:
    cards.empty("No calls in this period. Choose a longer period.")
draw_lines()
# A forecast is of projects, and not of the days on which they had a label.
if not labels and (month := forecast.month_lines([project.slug for project in projects], viewer.actor)):
    st.caption(month)
titles = {each.slug: each.name for each in projects}
draw_changes_card(changes_card.Stretches(wanted, sums, previous, chosen, titles), viewer.actor)

with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
    with st.container(width="stretch"):
        cards.heading("Projects", note="nearest to a cap first; caps count platform-funded spend only")
    if viewer.may(Action.CREATE_PROJECT) and not in_sample():
        notices.opener("New project", new_project.DIALOG, "add")
shown, matching = project_page.choose(statuses)
if shown:
    table.draw_table(
        table.with_series(shown, wanted, series, viewer.actor, of=len(statuses)),
        forecasts,
        unit=series.unit,
        alt=f"{count(len(shown), 'project')}: who pays, spend and caps",
        zone=chosen.zone,
    )
    project_page.draw_pages(shown, matching)
else:
    cards.empty("No project of that name.")

draw_new_project()

only = frozenset(project.slug for project in projects) if labels else None
state = partial(table.state_of_now, only=only, many=every > table.MANY)
auto_refresh.watch(wanted, chosen, state=state, seen=table.state_shown(statuses))
