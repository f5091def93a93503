"""Members: who may change whose role, and what can never happen."""

from __future__ import annotations

import json
from threading import Barrier, Thread

import pytest

from lib.access.auditlog import AuditFilter
from lib.access.members import Member
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.errors import BadInput, Forbidden, ProjectUnknown, QodexError
from lib.platform import Platform

ROOT = local_administrator(Origin.COMMAND_LINE, "operator")


@pytest.fixture
def org(platform: Platform) -> Platform:
    """Two projects, without members."""
    for slug in ("shop", "search"):
        platform.projects.add(slug, actor=ROOT)
    return platform


def add(org: Platform, email: str, role: str, slug: str | None = "shop") -> Actor:
    org.members.put(email, role, slug=slug, actor=ROOT)
    return org.members.actor(email, Origin.BROWSER)


def roles(org: Platform, slug: str | None = "shop") -> dict[str, str]:
    found: list[Member] = org.members.list(slug=slug, actor=ROOT)
    return {member.email: member.role.name.lower() for member in found if member.project == slug}


def log(org: Platform, *actions: str) -> list[tuple[str, str, str | None, str | None]]:
    rows, _ = org.audit.list(AuditFilter(actions=actions or ("member",), limit=1000), actor=ROOT)
    return [(row.action, row.actor, row.before, row.after) for row in rows]


def lose(org: Platform, who: Actor, change: str, slug: str | None, lower: str) -> None:
    """Take the role of ``who`` away: ``lower`` it, ``remove`` them, or let them ``leave``."""
    if change == "lower":
        org.members.put(who.name, lower, slug=slug, actor=ROOT)
    else:
        org.members.remove(who.name, slug=slug, actor=who if change == "leave" else ROOT)


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["lower", "remove", "leave"])
def test_a_project_never_loses_its_last_lead(org: Platform, change: str):
    ada = add(org, "ada@example.com", "lead")
    add(org, "mo@example.com", "manager")
    before = log(org)
    with pytest.raises(Forbidden, match=r"the project's last lead\. Make somebody else one first"):
        lose(org, ada, change, "shop", "analyst")
    assert roles(org)["ada@example.com"] == "lead"
    assert log(org) == before


@pytest.mark.parametrize("change", ["lower", "remove", "leave"])
def test_somebody_is_always_administrator_of_all_projects(org: Platform, change: str):
    ada = add(org, "ada@example.com", "admin", None)
    add(org, "lee@example.com", "lead", None)
    with pytest.raises(Forbidden, match="the last administrator of all projects"):
        lose(org, ada, change, None, "lead")
    org.members.remove("lee@example.com", slug=None, actor=ada)
    assert roles(org, None) == {"ada@example.com": "admin"}


@pytest.mark.parametrize(("slug", "role"), [("shop", "lead"), (None, "admin")])
def test_of_two_who_leave_at_once_one_stays(org: Platform, slug: str | None, role: str):
    both = [add(org, f"{name}@example.com", role, slug) for name in ("ada", "bo")]
    begin, refused = Barrier(2), []

    def leave(who: Actor) -> None:
        begin.wait()
        try:
            org.members.remove(who.name, slug=slug, actor=who)
        except Forbidden as problem:
            refused.append(problem)

    threads = [Thread(target=leave, args=(who,)) for who in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(roles(org, slug)), len(refused)) == (1, 1)


FORBIDDEN = {
    "a lead makes an administrator": lambda org, lead: org.members.put(
        "bo@example.com", "admin", slug="shop", actor=lead
    ),
    "a lead makes themselves administrator": lambda org, lead: org.members.put(
        lead.name, "admin", slug="shop", actor=lead
    ),
    "a lead adds somebody to all projects": lambda org, lead: org.members.put(
        "bo@example.com", "analyst", slug=None, actor=lead
    ),
    "a lead lowers an administrator": lambda org, lead: org.members.put(
        "root@example.com", "analyst", slug="shop", actor=lead
    ),
    "a lead removes an administrator": lambda org, lead: org.members.remove(
        "root@example.com", slug="shop", actor=lead
    ),
    "a lead removes somebody of all projects": lambda org, lead: org.members.remove(
        "boss@example.com", slug=None, actor=lead
    ),
    "a lead lists those of all projects": lambda org, lead: org.members.list(slug=None, actor=lead),
}


@pytest.mark.parametrize("attempt", FORBIDDEN)
def test_a_leads_rights_end_at_their_project_and_at_lead(org: Platform, attempt: str):
    lead = add(org, "ada@example.com", "lead")
    add(org, "root@example.com", "admin")
    add(org, "boss@example.com", "manager", None)
    before = (roles(org), roles(org, None))
    with pytest.raises(Forbidden):
        FORBIDDEN[attempt](org, lead)
    assert (roles(org), roles(org, None)) == before


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_who_is_no_lead_changes_nobody_but_may_leave(org: Platform, role: str):
    add(org, "ada@example.com", "lead")
    who = add(org, "mo@example.com", role)
    for attempt in (
        lambda: org.members.put("mo@example.com", "lead", slug="shop", actor=who),
        lambda: org.members.put("bo@example.com", "analyst", slug="shop", actor=who),
        lambda: org.members.remove("ada@example.com", slug="shop", actor=who),
        lambda: org.members.list(slug="shop", actor=who),
    ):
        with pytest.raises(Forbidden):
            attempt()
    org.members.remove("mo@example.com", slug="shop", actor=who)
    assert roles(org) == {"ada@example.com": "lead"}


def test_another_project_is_unknown_and_stays_as_it_is(org: Platform):
    lead = add(org, "ada@example.com", "lead", "search")
    add(org, "bo@example.com", "analyst")
    for attempt in (
        lambda: org.members.put("ada@example.com", "lead", slug="shop", actor=lead),
        lambda: org.members.remove("bo@example.com", slug="shop", actor=lead),
        lambda: org.members.remove("ada@example.com", slug="shop", actor=lead),
        lambda: org.members.list(slug="shop", actor=lead),
        lambda: org.members.list(slug="nowhere", actor=lead),
    ):
        with pytest.raises(ProjectUnknown):
            attempt()
    assert roles(org) == {"bo@example.com": "analyst"}


@pytest.mark.parametrize("email", ["ada", "\u212aim@example.com"])
def test_what_is_no_e_mail_is_refused(org: Platform, email: str):
    with pytest.raises(BadInput, match="no e-mail address"):
        org.members.put(email, "lead", slug="shop", actor=ROOT)


def test_a_look_alike_of_a_member_has_no_role_and_removes_nobody(org: Platform):
    org.members.put("kim@example.com", "lead", slug="shop", actor=ROOT)
    look_alike = "\u212aim@example.com"
    someone = org.members.actor(look_alike, Origin.BROWSER, ["kim@example.com"])
    assert (someone.everywhere, dict(someone.projects)) == (None, {})
    with pytest.raises(BadInput, match="no such member"):
        org.members.remove(look_alike, slug="shop", actor=ROOT)
    assert "kim@example.com" in [each.email for each in org.members.list(slug="shop", actor=ROOT)]


@pytest.mark.parametrize(
    "email", ["a@b.de", "ada.king+qodex@mail.example.co.uk", "_svc-1@xn--bcher-kva.example"]
)
def test_an_ordinary_e_mail_is_taken(org: Platform, email: str):
    assert org.members.put(email.upper(), "lead", slug="shop", actor=ROOT).email == email


def test_everybody_is_listed_with_their_projects_for_those_of_all_projects(org: Platform):
    add(org, "root@example.com", "admin", None)
    add(org, "ada@example.com", "lead", "shop")
    ada = add(org, "ada@example.com", "analyst", "search")
    listed = [(each.email, each.project, each.role.name) for each in org.members.everybody(actor=ROOT)]
    assert listed == [
        ("ada@example.com", "search", "ANALYST"),
        ("ada@example.com", "shop", "LEAD"),
        ("root@example.com", None, "ADMIN"),
    ]
    with pytest.raises(Forbidden):
        org.members.everybody(actor=ada)


def test_an_unknown_role_or_member_is_refused(org: Platform):
    with pytest.raises(BadInput, match="admin, lead, manager or analyst"):
        org.members.put("ada@example.com", "owner", slug="shop", actor=ROOT)
    with pytest.raises(BadInput, match="no such member"):
        org.members.remove("ada@example.com", slug="shop", actor=ROOT)


def test_refused_attempts_are_in_the_audit_log_but_cannot_fill_it(org: Platform):
    analyst = add(org, "mo@example.com", "analyst")
    for _ in range(30):
        with pytest.raises(Forbidden):
            org.members.put("mo@example.com", "lead", slug="shop", actor=analyst)
    rows = log(org, "access:refused")
    assert len(rows) == 20
    assert rows[0] == ("access:refused", "mo@example.com", None, '{"tried": "make mo@example.com lead"}')


# --- what works ------------------------------------------------------------------------------------


def test_each_change_is_in_the_audit_log_with_before_and_after(org: Platform):
    ada = add(org, "ada@example.com", "lead")
    org.members.put("Bo@Example.com ", "analyst", slug="shop", actor=ada)
    org.members.put("bo@example.com", "lead", slug="shop", actor=ada)
    org.members.remove("ada@example.com", slug="shop", actor=ada)
    was = [
        (action, actor, before and json.loads(before)["role"], after and json.loads(after)["role"])
        for action, actor, before, after in log(org)
    ]
    assert was == [
        ("member:removed", "ada@example.com", "lead", None),
        ("member:changed", "ada@example.com", "analyst", "lead"),
        ("member:added", "ada@example.com", None, "analyst"),
        ("member:added", "operator", None, "lead"),
    ]


def test_a_change_that_cannot_be_logged_is_not_made(org: Platform, monkeypatch: pytest.MonkeyPatch):
    add(org, "ada@example.com", "lead")

    def broken(*_args: object, **_options: object) -> None:
        raise QodexError("The disk is full.")

    monkeypatch.setattr("lib.access.audit.record", broken)
    with pytest.raises(QodexError):
        org.members.put("bo@example.com", "analyst", slug="shop", actor=ROOT)
    with pytest.raises(QodexError):
        org.members.put("ada@example.com", "admin", slug="shop", actor=ROOT)
    assert roles(org) == {"ada@example.com": "lead"}


def test_roles_are_those_of_this_moment(org: Platform):
    assert add(org, "ada@example.com", "lead").projects
    add(org, "bo@example.com", "lead")
    org.members.remove("ada@example.com", slug="shop", actor=ROOT)
    gone = org.members.actor("ada@example.com", Origin.BROWSER)
    assert (gone.everywhere, dict(gone.projects)) == (None, {})


def test_the_first_administrators_come_from_the_settings(org: Platform):
    assert (
        org.members.actor("Root@Example.com", Origin.BROWSER, ["ROOT@example.com"]).everywhere is Role.ADMIN
    )
    add(org, "boss@example.com", "admin", None)
    add(org, "lee@example.com", "lead", None)
    assert org.members.administrators(["ROOT@example.com"]) == ["boss@example.com", "root@example.com"]


def test_whoever_loses_their_role_in_the_middle_of_something_is_told_so(org: Platform):
    ada = add(org, "ada@example.com", "lead")
    add(org, "mo@example.com", "lead")
    org.projects.set_policy("shop", "platform", actor=ada)
    org.members.remove("ada@example.com", slug="shop", actor=ROOT)
    ada = org.members.actor("ada@example.com", Origin.BROWSER)
    with pytest.raises(ProjectUnknown, match="If you saw it until now, your role in it was taken away"):
        org.projects.set_policy("shop", "stop", actor=ada)
    assert org.projects.get("shop", actor=ROOT).on_key_failure == "platform"
