"""What a lead does with a key in use: check it again, remove it, choose what happens when it fails."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.errors import QodexError
from lib.providers import title
from lib.ui.base import loaders, notices
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape, key_name
from lib.ui.integrations.key_entry import asking
from lib.ui.shell.guards import current_actor
from lib.vault.states import KeyState

POLICIES = {
    "stop": ("Stop", "The run stops with {company}'s message. Nothing is spent on the platform key."),
    "platform": (
        "Fall back to the platform key",
        "The run goes on, platform-funded, within your caps. The run log says so.",
    ),
}
"""Policy -> its name, and what it means."""


def removal(provider: str) -> str:
    """The name of the dialog that asks before a key of this provider is removed."""
    return f"key-removal:{provider}"


def check_again(slug: str, provider: str) -> None:
    """Ask the provider about the saved key; what it says is on the page afterwards."""
    with st.spinner(asking(provider), show_time=True):
        state = _check(slug, provider)
    if isinstance(state, QodexError):
        sentence = str(state).replace("Nothing was saved. ", "")
        st.warning(escape(sentence), icon=":material/warning:")
        return
    key, company = escape(key_name(state.last4)), title(provider)
    if state.status in {"working", "warning"}:
        usable = (
            f"{company} knows {key}."
            if state.obstacle is None
            else f"{company} knows {key}, but it cannot be used now."
        )
        notices.toast(usable, icon="check_circle" if state.obstacle is None else "error")
    elif state.failure == "out_of_money":
        notices.toast(
            f"{company} knows {key}. Whether it has money again shows with the next call.", icon="error"
        )
    else:
        notices.toast(f"{company} rejected {key}.", icon="error")
    st.rerun()


def _check(slug: str, provider: str) -> KeyState | QodexError:
    try:
        return front_door().keys.check(slug, actor=current_actor(), provider=provider)
    except QodexError as problem:
        return problem.with_traceback(None)


def draw_removal(project: Project, state: KeyState) -> None:
    """Draw the confirmation if it is open."""
    if notices.is_open(removal(state.provider)) and state.is_own:
        st.dialog(f"Remove the {title(state.provider)} API key?", on_dismiss=notices.close_dialog)(
            lambda: _confirm(project, state)
        )()


def _confirm(project: Project, state: KeyState) -> None:
    slug, key = escape(project.slug), escape(key_name(state.last4))
    st.markdown(
        f"From the next call to {title(state.provider)} on, {slug} is **platform-funded**: Qodex pays, and the caps "
        f"of the **{escape(project.plan)}** plan apply.\n\n"
        f"The sealed key {key} is destroyed here; its history stays. It goes on working at {title(state.provider)} until "
        "you revoke it there."
    )
    after = f"{slug} is platform-funded from the next call on."
    if front_door().keys.platform_state(state.provider).status == "none":
        after = f"Nobody pays for calls of {slug} to {title(state.provider)} now."
        st.warning(
            f"This server has no platform key for {title(state.provider)}: without a key of its own, the runs of {slug} "
            "that call it will stop.",
            icon=":material/warning:",
        )
    failure = st.container()
    if notices.confirmed("Remove the key", removal(state.provider)):
        problem = _remove(project.slug, state)
        if problem is None:
            notices.close_dialog()
            loaders.forget()
            notices.toast(f"{key} was removed. {after}")
            st.rerun()
        failure.error(escape(str(problem)), icon=":material/error:")


def _remove(slug: str, state: KeyState) -> QodexError | None:
    try:
        front_door().keys.remove(
            slug, actor=current_actor(), expected_version=state.version, provider=state.provider
        )
    except QodexError as problem:
        return problem
    return None


def choose_policy(slug: str, state: KeyState, *, allowed: bool) -> None:
    """Stop or fall back, saved at once."""
    key, company = f"policy:{slug}:{state.provider}", title(state.provider)
    st.session_state[key] = state.on_key_failure

    def changed() -> None:
        chosen = str(st.session_state[key])
        try:
            front_door().projects.set_policy(slug, chosen, actor=current_actor(), provider=state.provider)
        except QodexError as problem:
            notices.toast(escape(str(problem)), icon="error")
        else:
            notices.toast(f"Set to: {POLICIES[chosen][0].lower()}.")

    st.radio(
        f"If {company} refuses the key",
        list(POLICIES),
        key=key,
        on_change=changed,
        format_func=lambda policy: POLICIES[policy][0],
        captions=[meaning.format(company=company) for _, meaning in POLICIES.values()],
        label_visibility="collapsed",
        disabled=not allowed,
    )
