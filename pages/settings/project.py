"""Settings > Project: its title and labels, who leads it, and whether it is archived."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Action
from lib.formatting import when
from lib.ui.base import notices
from lib.ui.base.wording import badge, escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards
from lib.ui.project import project_forms
from lib.ui.shell.page_context import PageContext, page


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND, title="Project")
    head = cards.header("Project")
    with head.right:
        project = visit.project(archived=True)
    draw_wrong_links()
    head.context(f"{escape(project.titled)} · created {when(project.created_at, visit.now, visit.zone)}")
    may_change = visit.may(Action.CHANGE_PROJECT, project.id)
    left, right = st.columns(2)
    with left, cards.card(height="stretch"):
        cards.heading("Title", note="the short name never changes: it is in addresses and exports")
        project_forms.draw_title(project, allowed=may_change)
    with right, cards.card(height="stretch"):
        cards.heading("Leads", note="they set keys, members and all of this page")
        _leads(visit, project)
    with cards.card():
        cards.heading(
            "Labels", note="each holds from the day it is set, in the reporting time zone; earlier days stay"
        )
        labels = visit.platform.project_changes.labels(project.slug, actor=visit.actor)
        project_forms.draw_labels(project, labels, allowed=may_change)
    with cards.card():
        _state(visit, project, may_change=may_change)


def _leads(visit: PageContext, project: Project) -> None:
    found = visit.platform.members.leads(project.slug, actor=visit.actor)
    if found:
        st.markdown("\n".join(f"- {escape(email)}" for email in found))
    else:
        st.caption(
            "Local mode: everyone on this machine." if visit.local else "None: administrators act for it."
        )


def _state(visit: PageContext, project: Project, *, may_change: bool) -> None:
    changes, slug = visit.platform.project_changes, project.slug
    if project.archived_at is not None:
        cards.heading("Archived", badge("Archived", "gray"))
        since = when(project.archived_at, visit.now, visit.zone)
        st.markdown(f"Since {since}. It takes no runs; its history and exports are there.")
        st.button(
            "Restore", disabled=not may_change, on_click=project_forms.restore, args=(project,), key="restore"
        )
    else:
        cards.heading("Archive", note="for a project that is over")
        st.markdown("It takes no more runs and leaves all choices of projects; its history and exports stay.")
        if may_change:
            notices.opener("Archive", project_forms.ARCHIVING, "archive")
    if visit.may(Action.DELETE_PROJECT) and changes.is_empty(slug, actor=visit.actor):
        notices.opener(":red[Delete]", project_forms.DELETING, "delete", "tertiary")
        st.caption("It was never used, so it can be deleted.")
    elif not may_change:
        st.caption(f"{visit.leads(project)} change this.")
    project_forms.draw_archiving(project, visit.platform.keys.describe_each(slug, actor=visit.actor))
    project_forms.draw_deleting(project)


main()
