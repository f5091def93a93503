"""Settings > Audit log: every change, by whom, when, on what, from where."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from lib.access.auditlog import AuditFilter
from lib.access.roles import Action
from lib.formatting import count
from lib.ui.audit import audit_list
from lib.ui.audit.audit_list import draw_audit_list
from lib.ui.base import filters, paging, query_state
from lib.ui.base.navigation import AUDIT_LOG
from lib.ui.base.paging import draw_pager
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards
from lib.ui.shell.guards import deferred_actor
from lib.ui.shell.page_context import PageContext, page
from lib.ui.shell.saved_views import draw_saved_views


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_AUDIT_LOG, title="Audit log")
    log = visit.platform.audit
    head = cards.header("Audit log")
    with head.right:
        chosen = filters.choose_period(default="30d")
    with st.container(horizontal=True, gap="xsmall"):
        wanted = audit_list.choose(visit.slugs, log.actors(actor=visit.actor), chosen)
        query_state.draw_reset(audit_list.FILTERS)
    with head.right:
        draw_saved_views(AUDIT_LOG, visit)
    head.context(f"Append-only: no row is ever changed or deleted here · {chosen.label}")
    rows, total = log.list(wanted, actor=visit.actor)
    if paging.beyond(total, audit_list.PAGE_ROWS):
        wanted = replace(wanted, offset=paging.offset(audit_list.PAGE_ROWS))
        rows, total = log.list(wanted, actor=visit.actor)
    draw_wrong_links()
    if not rows:
        cards.empty("No changes match. Choose a longer period, or reset the filters.")
        return
    draw_audit_list(rows, chosen)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption(f"{len(rows)} of {count(total, 'change')}", width="content")
        draw_pager(total, audit_list.PAGE_ROWS)
    _file(visit, wanted, total)


def _file(visit: PageContext, wanted: AuditFilter, total: int) -> None:
    if total > audit_list.MOST_ROWS:
        st.caption(f"More than {audit_list.MOST_ROWS:,} changes: choose a shorter period for a file.")
        return

    asking = deferred_actor()

    def content() -> bytes:
        whole = replace(wanted, limit=audit_list.MOST_ROWS, offset=0)
        return audit_list.as_csv(visit.platform.audit.list(whole, actor=asking())[0])

    st.download_button(
        f"Download CSV ({count(total, 'change')})",
        content,
        file_name="qodex-audit-log.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


main()
