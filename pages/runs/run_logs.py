"""Runs > Run logs: every run, its calls, and for a failure the provider's own words."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lib.access.roles import Action
from lib.errors import RunUnknown
from lib.formatting import count
from lib.ui.base import filters, notices, paging, query_state
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import RUN_LOGS
from lib.ui.base.paging import draw_pager
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards
from lib.ui.runs import run_list
from lib.ui.runs.run_card import draw_run_card
from lib.ui.runs.run_list import draw_run_list
from lib.ui.shell.page_context import PageContext, page
from lib.ui.shell.saved_views import draw_saved_views


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
        draw_saved_views(RUN_LOGS, visit)
    live = " · updates live" if run_list.is_live(chosen) else ""
    head.context(f"{run_list.which(wanted, len(visit.slugs))} · {chosen.label}{live}")
    rows, total = visit.platform.runs.list(wanted, actor=visit.actor)
    if paging.beyond(total, run_list.PAGE_ROWS):
        wanted = replace(wanted, offset=paging.offset(run_list.PAGE_ROWS))
        rows, total = visit.platform.runs.list(wanted, actor=visit.actor)
    draw_wrong_links()
    if rows:
        draw_run_list(rows, chosen, {each.slug: each.name for each in visit.projects})
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"{len(rows)} of {count(total, 'run')}", width="content")
            draw_pager(total, run_list.PAGE_ROWS)
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
        draw_run_card(detail, chosen, visit)


main()
