"""Settings > Members: who has which role in a project."""

from __future__ import annotations

import streamlit as st

from lib.access.members import Member
from lib.access.roles import Action
from lib.formatting import count
from lib.ui.base import notices, query_state
from lib.ui.base.wording import escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.members import member_forms
from lib.ui.parts import cards
from lib.ui.shell.page_context import PageContext, page


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.MANAGE_MEMBERS, title="Members")
    head = cards.header("Members")
    with head.right:
        project = visit.project()
    draw_wrong_links()
    found = visit.platform.members.list(slug=project.slug, actor=visit.actor)
    head.context(
        f"{count(len(found), 'member')} of {escape(project.titled)}, including people with access to all projects"
    )
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        wanted = query_state.search("Search", "q", placeholder="E-mail", width=230).strip().lower()
        st.space("stretch")
        notices.opener("Add a member", member_forms.ADDING, "person_add", "secondary" if found else "primary")
    shown = [member for member in found if wanted in member.email]
    if shown:
        _table(shown, visit)
    else:
        cards.empty("No member matches." if found else _nobody(visit))
    member_forms.draw_adding(project.slug)


def _table(shown: list[Member], visit: PageContext) -> None:
    member = member_forms.draw_table(shown, visit)
    if member is None:
        st.caption("Choose a member to change the role or to remove them.")
        return
    oneself = member.email == visit.actor.name
    with st.container(horizontal=True, gap="xsmall"):
        notices.opener("Change the role", member_forms.CHANGING, "manage_accounts")
        leave = ":red[Leave]" if oneself else ":red[Remove]"
        notices.opener(leave, member_forms.REMOVING, "delete", "tertiary")
    member_forms.draw_changing(member)
    member_forms.draw_removing(member, oneself=oneself)


def _nobody(visit: PageContext) -> str:
    if visit.local:
        return "No members yet. In local mode everyone on this machine is an administrator."
    return "No members yet. Add the first lead."


main()
