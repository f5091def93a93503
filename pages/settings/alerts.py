"""Settings > Alerts: what is told to whom, and what was told."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Action
from lib.ui.alerts import channels, preference_form
from lib.ui.alerts.channels import draw_channels
from lib.ui.alerts.delivery_list import draw_delivery_list
from lib.ui.alerts.kinds_table import draw_kinds_table
from lib.ui.base import query_state
from lib.ui.base.wording import escape
from lib.ui.parts import cards
from lib.ui.shell.page_context import PageContext, close_what_was_opened_elsewhere, page

_WHOSE = {"": "Of a project", "platform": "Of the platform"}


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND, title="Alerts")
    head = cards.header("Alerts")
    with head.right:
        project = _whose(visit)
    slug = project.slug if project else None
    head.context(_context(project, visit))
    alerts, actor = visit.platform.alerts, visit.actor
    may_set = project is None or visit.may(Action.SET_ALERTS, project.id)
    preferences = alerts.preferences.get(slug, actor=actor)
    found = alerts.history.recent(slug, actor=actor)
    if may_set:
        _settings(visit, slug, preference_form.PreferenceForm(slug, preferences))
    with cards.card():
        draw_delivery_list(slug, found, visit, may_send=may_set)
    if may_set:
        with cards.card():
            draw_kinds_table(slug, preferences, visit)
    elif project:
        st.caption(f"{visit.leads(project)} choose what is told to whom.")


def _whose(visit: PageContext) -> Project | None:
    """The project, or None for the platform, which administrators may choose."""
    with st.container(horizontal=True, gap="xsmall", width="content"):
        if visit.may(Action.SET_PLATFORM_ALERTS):
            of = query_state.select(
                "Whose alerts", "of", list(_WHOSE), default="", width=150, format_func=_WHOSE.__getitem__
            )
            if of:
                close_what_was_opened_elsewhere(None)
                return None
        return visit.project()


def _context(project: Project | None, visit: PageContext) -> str:
    if project is None:
        return "Alerts about the platform key and all projects"
    zone = visit.platform.settings.timezone
    return f"Alerts about {escape(project.titled)} · times in {escape(zone)}"


def _settings(visit: PageContext, slug: str | None, wanted: preference_form.PreferenceForm) -> None:
    found = visit.platform.alerts.channels.list(slug, actor=visit.actor)
    cards.attention(channels.attention_of(found, visit), titled=False)
    left, right = st.columns([8, 5], gap="small")
    with left, cards.card(height="stretch"):
        draw_channels(slug, found, wanted.preferences, visit)
    with right, cards.card(height="stretch"):
        wanted.draw()
    channels.draw_dialogs(slug, found)


main()
