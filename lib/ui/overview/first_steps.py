"""The first five minutes: three steps from an empty machine to the first call."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent

import streamlit as st

from lib.access.roles import Action
from lib.llm import registry
from lib.providers import DEFAULT
from lib.ui.base import notices
from lib.ui.base.navigation import INTEGRATIONS, go
from lib.ui.base.wording import badge
from lib.ui.parts.cards import card, heading
from lib.ui.shell import new_project, sample_workspace
from lib.ui.shell.guards import Viewer
from lib.ui.shell.new_project import draw_new_project

_WORKER = """from lib import Platform

with Platform.from_env().run("{slug}", kind="chat") as run:
    {call}
    run.finish("passed")"""


def draw_first_steps(viewer: Viewer, slug: str | None, *, has_key: bool, funded: bool) -> None:
    """Three cards.

    Args:
        viewer: who looks.
        slug: the first project, None before there is one.
        has_key: whether that project has a key of its own.
        funded: whether it would be paid for with the platform's key.
    """
    payable = has_key or funded
    first, second, third = st.columns(3)
    titles = registry.titles()
    done = badge("Done", "green", "check")
    due = badge("Next", "green")
    with first, card(height="stretch"):
        heading("1. Create a project", done if slug else due)
        st.markdown(
            "A project is one repository or service that Qodex tests. It has its own key, caps and numbers."
        )
        _create_button(viewer, primary=slug is None)
    with second, card(height="stretch"):
        heading("2. Choose who pays", _payer(slug, has_key=has_key, funded=funded))
        st.markdown(
            f"Platform-funded: Qodex pays, within caps. Or bring your own {titles} key: {titles} bills you, and no cap "
            "applies."
        )
        _go_button("Choose who pays", slug, primary=bool(slug) and not payable)
    with third, card(height="stretch"):
        heading("3. Make a first call", _state(waits_for=2, ready=bool(slug) and payable, done=False))
        st.markdown(
            "Send a test call from the browser, or import the library in a worker. It appears here within seconds."
        )
        _go_button("Send a test call", slug if payable else None, primary=payable)
    left, right = st.columns(2, gap="small")
    with left, card(height="stretch"):
        heading("Just looking?")
        st.markdown(
            "Sample data shows every page in use: 8 projects with 120 days of calls, a key that fails, a project "
            "at its cap. It stays apart from real numbers, and one click removes it again."
        )
        sample_workspace.draw_offer(viewer.actor)
    with right, card(height="stretch"):
        heading("From a worker", note="the same first call in Python")
        call = indent(registry.provider(DEFAULT).first_call, " " * 4).lstrip()
        st.code(_WORKER.format(slug=slug or "my-project", call=call), language=None)
    draw_new_project()


def draw_no_project(viewer: Viewer) -> None:
    """For pages that have nothing to show before there is a project."""
    with card():
        heading("There is no project yet")
        st.markdown(
            "A project is one repository or service that Qodex tests. It has its own key, caps and numbers."
        )
        _create_button(viewer, primary=True)
    draw_new_project()


def _payer(slug: str | None, *, has_key: bool, funded: bool) -> str:
    """Without a choice the platform pays, if it can: that is no choice that anybody made."""
    if slug and funded and not has_key:
        return badge("Platform-funded until you choose", "violet")
    return _state(waits_for=1, ready=bool(slug), done=has_key)


def _state(*, waits_for: int, ready: bool, done: bool) -> str:
    if done:
        return badge("Done", "green", "check")
    return badge("Next", "green") if ready else badge(f"After step {waits_for}", "gray")


def _create_button(viewer: Viewer, *, primary: bool) -> None:
    allowed = viewer.may(Action.CREATE_PROJECT)
    st.button(
        "Create a project",
        key="first:create",
        type="primary" if primary else "secondary",
        disabled=not allowed,
        help=None if allowed else "Only administrators create projects.",
        on_click=notices.open_dialog,
        args=(new_project.DIALOG,),
    )


def _go_button(label: str, slug: str | None, *, primary: bool) -> None:
    def leave() -> None:
        go(INTEGRATIONS, project=slug or "")

    on_click: Callable[[], None] | None = leave if slug else None
    st.button(
        label,
        key=f"first:{label}",
        type="primary" if primary and slug else "secondary",
        disabled=slug is None,
        on_click=on_click,
    )
