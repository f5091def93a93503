"""Adding a member, changing a role, removing: one dialog each; lib.access checks who may."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib.access.members import Member
from lib.access.roles import Role
from lib.errors import QodexError
from lib.formatting import count, exact
from lib.ui.base import notices
from lib.ui.base.badges import badge_column
from lib.ui.base.server import front_door
from lib.ui.base.tables import arrow, row_opens
from lib.ui.base.wording import escape
from lib.ui.shell.guards import current_actor
from lib.ui.shell.page_context import PageContext

ADDING, CHANGING, REMOVING = "member:add", "member:change", "member:remove"
ROLES = {
    "analyst": "sees spend, caps and run logs, and exports them",
    "manager": "also sees the audit log",
    "lead": "also sets keys, the failure policy and the project's members",
    "admin": "everything, plans and caps included",
}
COLORS = {"Analyst": "gray", "Manager": "gray", "Lead": "green", "Admin": "orange"}
_EVERYWHERE = "All projects"


def draw_table(found: Sequence[Member], visit: PageContext) -> Member | None:
    """The members; returns the chosen one."""
    columns: dict[str, list[Any]] = {
        "E-mail": [member.email for member in found],
        "Role": [[member.role.name.title()] for member in found],
        "In": [member.project or _EVERYWHERE for member in found],
        "Added": [exact(member.added_at, visit.zone, now=visit.now) for member in found],
        "By": [visit.called(member.added_by) for member in found],
    }
    event = st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        **row_opens(table_key(found)),
        alt=f"{count(len(found), 'member')}; choose one to change the role or to remove them",
        column_config={"Role": badge_column(COLORS)},
    )
    picked = event.selection.rows
    return found[picked[0]] if picked else None


def table_key(found: Sequence[Member]) -> str:
    """Key of the table, another one for other rows: what was chosen by its place must never become somebody else."""
    rows = "\n".join(f"{member.email} {member.project}" for member in found)
    return f"members:{hashlib.sha256(rows.encode()).hexdigest()[:12]}"


def draw_adding(slug: str) -> None:
    """The dialog for a new member."""
    if notices.is_open(ADDING):
        st.dialog("Add a member", on_dismiss=notices.close_dialog)(_adding)(slug)


def draw_changing(member: Member) -> None:
    """The dialog for another role."""
    if notices.is_open(CHANGING):
        st.dialog("Change the role", on_dismiss=notices.close_dialog)(_changing)(member)


def draw_removing(member: Member, *, oneself: bool) -> None:
    """The dialog that asks before somebody is removed."""
    if notices.is_open(REMOVING):
        st.dialog("Leave?" if oneself else "Remove this member?", on_dismiss=notices.close_dialog)(_removing)(
            member
        )


def _adding(slug: str) -> None:
    with st.form("member:form", border=False):
        email = st.text_input("E-mail", key="member:email", placeholder="name@example.com", max_chars=400)
        role = _choose_role(None)
        everywhere = st.checkbox("In all projects (administrators only)", key="member:everywhere")
        failure = st.container()
        sent = st.form_submit_button("Add", type="primary")
    if sent:
        where = None if everywhere else slug
        _act(lambda: _put(email or "", role, where), f"{escape(email or '')} is {role} now.", failure)


def _changing(member: Member) -> None:
    with st.form("member:change:form", border=False):
        st.markdown(f"**{escape(member.email)}** in {escape(member.project or 'all projects')}")
        role = _choose_role(member.role)
        failure = st.container()
        sent = st.form_submit_button("Change", type="primary")
    if sent:
        _act(
            lambda: _put(member.email, role, member.project),
            f"{escape(member.email)} is {role} now.",
            failure,
        )


def _removing(member: Member) -> None:
    where = escape(member.project or "all projects")
    st.markdown(
        f"**{escape(member.email)}** loses the role {member.role.name.lower()} in {where}, at the next click. "
        "What they did stays in the audit log."
    )
    failure = st.container()
    if notices.confirmed("Remove", REMOVING):
        _act(lambda: _remove(member), f"{escape(member.email)} was removed.", failure)


def _choose_role(now: Role | None) -> str:
    names = list(ROLES)
    chosen = st.radio(
        "Role",
        names,
        index=names.index(now.name.lower()) if now else 0,
        format_func=str.title,
        captions=list(ROLES.values()),
    )
    return str(chosen)


def _put(email: str, role: str, slug: str | None) -> None:
    front_door().members.put(email, role, slug=slug, actor=current_actor())


def _remove(member: Member) -> None:
    front_door().members.remove(member.email, slug=member.project, actor=current_actor())


def _act(action: Callable[[], None], done: str, failure: st.delta_generator.DeltaGenerator) -> None:
    try:
        action()
    except QodexError as problem:
        failure.error(escape(str(problem)), icon=":material/error:")
        return
    notices.close_dialog()
    notices.toast(done)
    st.rerun()
