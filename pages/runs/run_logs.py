"""Runs > Run logs: every run, its calls, and for a failure the provider's own words."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lib.access.roles import Action
from lib.errors import RunUnknown
from lib.formatting import count
from lib.ui.base import filters, notices, paging, query_state, wrong_links
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import RUN_LOGS
from lib.ui.parts import cards
from lib.ui.runs import run_card, run_list
from lib.ui.shell import saved_views
from lib.ui.shell.page_context import PageContext, page


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND, title="Run logs")
    head = cards.header("Run logs")
    with head.right:
        chosen = filters.choose_period(default="24h")
    with st.container(horizontal=True, gap="xsmall"):
        wanted = run_list.choose({each.slug: each.titled for each in visit.projects}, chosen)
        query_state.draw_reset(run_list.FILTERS)
    with head.right:
        saved_views.draw(RUN_LOGS, visit)
    live = " · updates live" if run_list.is_live(chosen) else ""
    head.context(f"{run_list.which(wanted, len(visit.slugs))} · {chosen.label}{live}")
    rows, total = visit.platform.runs.list(wanted, actor=visit.actor)
    if paging.beyond(total, run_list.PAGE_ROWS):
        wanted = replace(wanted, offset=paging.offset(run_list.PAGE_ROWS))
        rows, total = visit.platform.runs.list(wanted, actor=visit.actor)
    wrong_links.draw()
    if rows:
        run_list.draw(rows, chosen, {each.slug: each.name for each in visit.projects})
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"{len(rows)} of {count(total, 'run')}", width="content")
            paging.draw(total, run_list.PAGE_ROWS)
    else:
        cards.empty("No runs match. Choose a longer period, or reset the filters.")
    _chosen_run(visit, chosen)
    if live and not notices.is_any_open():
        run_list.watch(wanted, (rows, total))


def _chosen_run(visit: PageContext, chosen: Chosen) -> None:
    run_id = query_state.text("run", 40)
    if not run_id:
        return
    try:
        detail = visit.platform.runs.show(run_id, actor=visit.actor)
    except RunUnknown as problem:
        cards.empty(problem.sentence)
    else:
        run_card.draw(detail, chosen, visit)


main()
