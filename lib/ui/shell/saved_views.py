"""Saved views of a page, and the link to what it shows: one button beside the page's period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import streamlit as st

from lib.access.roles import Action
from lib.access.saved_views import LONGEST_NAME, SavedView
from lib.errors import QodexError
from lib.ui.base import notices, query_state
from lib.ui.base.navigation import Page
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.shell.guards import Viewer, current_actor

SAVING, CHANGING = "view:save", "view:change"
_MINE = "Mine"


def draw_saved_views(page: Page, viewer: Viewer) -> None:
    """The button, what is behind it, and the dialogs. The page's filters have to be drawn by then."""
    slugs = st.query_params.get_all("project")
    views = front_door().saved_views.list(page=page.path, slugs=slugs, actor=viewer.actor)
    here = query_state.filters()
    shown = [view for view in views if view.query == here]
    with st.popover("Views", icon=":material/bookmark:", key="views"), st.container(gap=None):
        _draw_list(views, shown)
        notices.opener("Save this view", SAVING, "bookmark_add", "tertiary")
        st.button(
            "Copy link",
            key="copy-link",
            type="tertiary",
            icon=":material/link:",
        )
        changeable = [view for view in views if view.may_change]
        if changeable:
            notices.opener("Rename or delete", CHANGING, "edit", "tertiary")
    if notices.is_open(SAVING):
        st.dialog("Save this view", on_dismiss=notices.close_dialog)(_saving)(page, viewer, here)
    if notices.is_open(CHANGING) and changeable:
        st.dialog("Rename or delete a view", on_dismiss=notices.close_dialog)(_changing)(changeable)


def _draw_list(views: Sequence[SavedView], shown: Sequence[SavedView]) -> None:
    if not views:
        st.caption("No saved views of this page yet.")
    for owner, group in groupby(views, key=lambda view: view.project or _MINE):
        st.caption(escape(owner))
        for view in group:
            st.button(
                escape(view.name),
                key=f"view:{view.view_id}",
                type="tertiary",
                icon=":material/check:" if view in shown else ":material/bookmark:",
                on_click=query_state.open_filters,
                args=(view.query,),
            )


def _saving(page: Page, viewer: Viewer, query: str) -> None:
    share_in = _shareable(viewer)
    with st.form("view:form", border=False):
        name = st.text_input("Name", key="view:name", max_chars=LONGEST_NAME, placeholder="BYOK last month")
        whose = _choose_whose(share_in) if share_in else None
        if not share_in:
            st.caption(
                "Only you will see it. Leads share a view with a project's members when the page is narrowed to "
                "that project."
            )
        failure = st.container()
        sent = st.form_submit_button("Save", type="primary")
    if sent:
        _act(
            lambda: front_door().saved_views.save(
                name or "", page=page.path, query=query, slug=whose, actor=current_actor()
            ),
            f"View {escape((name or '').strip())} saved.",
            failure,
        )


def _choose_whose(slug: str) -> str | None:
    return st.radio(
        "Who sees it",
        [None, slug],
        key="view:whose",
        format_func=lambda one: f"Members of {one}" if one else "Only me",
    )


def _shareable(viewer: Viewer) -> str | None:
    """The project that the page is narrowed to, where the viewer may share views with its members."""
    named = st.query_params.get_all("project")
    if len(named) != 1:
        return None
    try:
        project = front_door().projects.get(named[0], actor=viewer.actor)
    except QodexError:
        return None
    return project.slug if viewer.may(Action.SHARE_VIEWS, project.id) else None


def _changing(views: Sequence[SavedView]) -> None:
    view = st.selectbox("View", views, key="view:which", format_func=_titled)
    name = st.text_input("Name", value=view.name, key=f"view:rename:{view.view_id}", max_chars=LONGEST_NAME)
    failure = st.container()
    store = front_door().saved_views
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        renamed = st.button("Rename", key="view:do_rename", type="primary")
        deleted = st.button("Delete", key="view:do_delete")
    if renamed:
        _act(
            lambda: store.rename(view.view_id, name, slug=view.project, actor=current_actor()),
            f"View {escape(name.strip())} renamed.",
            failure,
        )
    if deleted:
        _act(
            lambda: store.delete(view.view_id, slug=view.project, actor=current_actor()),
            f"View {escape(view.name)} deleted.",
            failure,
        )


def _titled(view: SavedView) -> str:
    return f"{view.name} · {view.project}" if view.project else view.name


def _act(change: Callable[[], object], done: str, failure: st.delta_generator.DeltaGenerator) -> None:
    """Do it and say so; a refusal stays in the dialog, as a sentence."""
    try:
        change()
    except QodexError as problem:
        failure.error(escape(problem.sentence), icon=":material/error:")
        return
    notices.close_dialog()
    notices.toast(done)
    st.rerun()
