"""What a lead changes of a project: its title and labels, whether it is archived, and whether it is there at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from lib.access.projects import Project
from lib.errors import QodexError
from lib.providers import title
from lib.ui.base import loaders, notices
from lib.ui.base.navigation import OVERVIEW, go
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape, key_name
from lib.ui.shell.guards import current_actor
from lib.vault.states import KeyState

ARCHIVING, DELETING = "project:archive", "project:delete"


def draw_title(project: Project, *, allowed: bool) -> None:
    """The title, in a field of its own for whoever may change it."""
    with st.form("project:title", border=False):
        title = st.text_input(
            "Title", project.name, key=f"title:{project.slug}", max_chars=200, disabled=not allowed
        )
        failure = st.container()
        sent = st.form_submit_button("Save title", disabled=not allowed)
    if sent:
        change = front_door().project_changes.describe
        act(lambda: change(project.slug, title=title or "", actor=current_actor()), "Title saved.", failure)


def draw_labels(project: Project, labels: Mapping[str, str], *, allowed: bool) -> None:
    """The labels, and a form for another one or another value."""
    if not labels:
        st.caption("No labels yet. For example cost_centre, owner or team.")
    else:
        st.table(
            {f":gray[{escape(name)}]": escape(value) for name, value in labels.items()}, border="horizontal"
        )
    if not allowed:
        return
    with st.form("project:label", border=False, clear_on_submit=True):
        name, value = st.columns(2)
        typed = name.text_input("Label", key="label:name", placeholder="cost_centre", max_chars=40)
        wanted = value.text_input("Value", key="label:value", placeholder="4711", max_chars=200)
        failure = st.container()
        sent = st.form_submit_button("Set label", help="An empty value takes the label away.")
    if sent:
        change = front_door().project_changes.describe
        act(
            lambda: change(project.slug, labels={typed: wanted}, actor=current_actor()),
            "Label saved.",
            failure,
        )


def draw_archiving(project: Project, keys: Sequence[KeyState]) -> None:
    """The dialog that asks before a project is archived, and what becomes of its keys."""
    if notices.is_open(ARCHIVING):
        st.dialog("Archive this project?", on_dismiss=notices.close_dialog)(
            lambda: _archiving(project, [key for key in keys if key.version])
        )()


def draw_deleting(project: Project) -> None:
    """The dialog that asks before an empty project is deleted."""
    if notices.is_open(DELETING):
        st.dialog("Delete this project?", on_dismiss=notices.close_dialog)(lambda: _deleting(project))()


def _archiving(project: Project, keys: Sequence[KeyState]) -> None:
    st.markdown(
        f"**{escape(project.slug)}** takes no more runs, and leaves Overview and the choices of projects. Runs in "
        "progress go on. Its history and exports stay, and a lead can restore it."
    )
    which = " and ".join(f"{title(key.provider)} key {escape(key_name(key.last4))}" for key in keys)
    destroyed = bool(keys) and st.checkbox(
        f"Destroy its {which}; runs in progress go on with the platform key",
        key="archive:key",
    )
    failure = st.container()
    if notices.confirmed("Archive", ARCHIVING):
        act(
            lambda: _archive(project, keys if destroyed else ()),
            f"{escape(project.slug)} is archived.",
            failure,
        )


def _archive(project: Project, keys: Sequence[KeyState]) -> None:
    """Archived first: a key that is gone would let runs go on with the platform's."""
    front_door().project_changes.archive(project.slug, actor=current_actor())
    for key in keys:
        front_door().keys.remove(
            project.slug, actor=current_actor(), expected_version=key.version, provider=key.provider
        )


def restore(project: Project) -> None:
    """For a button: it is what it was, at once."""
    try:
        front_door().project_changes.restore(project.slug, actor=current_actor())
    except QodexError as problem:
        notices.toast(escape(problem.sentence), icon="error")
        return
    loaders.forget()
    notices.toast(f"{escape(project.slug)} takes runs again.")


def _deleting(project: Project) -> None:
    st.markdown(f"**{escape(project.slug)}** was never used. Its members' roles in it go with it.")
    failure = st.container()
    if notices.confirmed("Delete", DELETING):
        try:
            front_door().project_changes.delete(project.slug, actor=current_actor())
        except QodexError as problem:
            failure.error(escape(problem.sentence), icon=":material/error:")
            return
        notices.close_dialog()
        loaders.forget()
        notices.toast(f"{escape(project.slug)} was deleted.")
        go(OVERVIEW)


def act(change: Callable[[], object], done: str, failure: st.delta_generator.DeltaGenerator) -> None:
    """Do it and say so; a refusal stays where it was asked for, as a sentence."""
    try:
        change()
    except QodexError as problem:
        failure.error(escape(problem.sentence), icon=":material/error:")
        return
    notices.close_dialog()
    loaders.forget()
    notices.toast(done)
    st.rerun()
