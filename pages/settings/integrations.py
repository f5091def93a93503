"""Settings > Integrations: whose key pays for a project's calls, and everything a lead can do about it."""

from __future__ import annotations

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Action
from lib.llm import registry
from lib.llm.provider import Provider
from lib.providers import title
from lib.ui.base import notices
from lib.ui.base.navigation import GUIDE, USAGE, link
from lib.ui.base.wording import escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.integrations import call_dialog, key_actions, key_entry, key_panel
from lib.ui.integrations.call_dialog import draw_test_call
from lib.ui.integrations.key_entry import draw_key_entry
from lib.ui.integrations.key_panel import Payer
from lib.ui.parts import cards
from lib.ui.shell.page_context import PageContext, page
from lib.vault.states import KeyState


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND, title="Integrations")
    head = cards.header("Integrations")
    with head.right:
        project = visit.project()
    draw_wrong_links()
    head.context(f"Services that the runs of {escape(project.titled)} use")
    keys = visit.platform.keys
    states = keys.describe_each(project.slug, actor=visit.actor)
    fundings = keys.platform_states()
    wrong = key_panel.attention_of(project, states, fundings, visit.actor, visit.zone)
    cards.attention(wrong, titled=False)
    st.header("LLM", anchor=False)
    payers = key_panel.payers(states, fundings)
    for state, payer in zip(states, payers, strict=True):
        with st.container(key=f"provider-{state.provider}"):
            _provider(visit, project, state, payer)
    with cards.card():
        cards.heading("What bringing your own key changes")
        key_panel.draw_changes(states, payers)
    for state in states:
        draw_key_entry(project.slug, state)
        key_actions.draw_removal(project, state)
        draw_test_call(project.slug, state.provider)


def _provider(visit: PageContext, project: Project, state: KeyState, payer: Payer) -> None:
    """The key of one provider, and beside it what happens if it fails, or what to know before there is one."""
    provider = registry.provider(state.provider)
    left, right = st.columns([8, 5], gap="small")
    with left, cards.card(height="stretch"):
        _key(visit, provider, project, state, payer)
    with right, cards.card(height="stretch"):
        _policy(visit, project, state) if state.is_own else _advice(provider)


def _key(visit: PageContext, provider: Provider, project: Project, state: KeyState, payer: Payer) -> None:
    cards.heading(f"{provider.facts.title} API key", *key_panel.badges(state, visit.now, payer))
    st.markdown(key_panel.sentence(project, state, payer))
    key_panel.draw_facts(visit.platform, project, state, visit, visit.now, visit.zone, payer)
    checking = _buttons(visit, project, state, payer)
    if state.version:
        st.markdown(f":small[{key_panel.provider_links(provider)}]")
        link(USAGE, "Spend by key over time", project=project.slug, group="key")
    link(GUIDE, "What happens with my key", chapter="keys")
    if checking:
        key_actions.check_again(project.slug, state.provider)


def _buttons(visit: PageContext, project: Project, state: KeyState, payer: Payer) -> bool:
    """Draw what can be done; returns whether to check the key again."""
    may_set, name = visit.may(Action.SET_KEY, project.id), state.provider
    may_call = payer != "unused" and visit.may(Action.MAKE_CALLS, project.id)
    checking = False
    untested = bool(state.version) and state.health == "unproven"
    if untested and may_call:
        st.markdown(
            "**Next step:** send a test call. It shows whether the key can pay, before a run needs it."
        )
    with st.container(horizontal=True, gap="xsmall"):
        if untested and may_call:
            notices.opener("Send a test call", call_dialog.dialog(name), "send", "primary")
        if may_set and state.is_own:
            due = state.status in {"failing", "locked"}
            notices.opener("Replace", key_entry.dialog(name), "sync", "primary" if due else "secondary")
            checking = st.button("Check again", key=f"check:{name}", icon=":material/verified_user:")
        elif may_set:
            notices.opener(
                "Add your key", key_entry.dialog(name), "add", "secondary" if payer == "unused" else "primary"
            )
        if may_call and not untested:
            notices.opener("Send a test call", call_dialog.dialog(name), "send")
        if may_set and state.is_own:
            st.space("stretch")
            notices.opener(":red[Remove]", key_actions.removal(name), "delete", "tertiary")
    if not may_set:
        st.caption(f"{visit.leads(project)} add, replace and remove its key.")
    return checking


def _policy(visit: PageContext, project: Project, state: KeyState) -> None:
    cards.heading(f"If {title(state.provider)} refuses the key", note="for example revoked or out of money")
    key_actions.choose_policy(project.slug, state, allowed=visit.may(Action.SET_FAILURE_POLICY, project.id))
    st.caption(key_panel.policy_note(project, state, visit, visit.zone))


def _advice(provider: Provider) -> None:
    cards.heading("Before you add a key")
    st.markdown(key_panel.advice(provider))


main()
