"""Members and Audit log: every state of the two pages, and everything a lead does there."""

from __future__ import annotations

import csv
import io
import json

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.auditlog import AuditFilter
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.db.tables import members
from lib.errors import Forbidden
from lib.ui.audit import audit_list
from lib.ui.members import member_forms
from tests.pages import ADMIN, Dashboard, buttons, press, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

OPERATOR = local_administrator(Origin.COMMAND_LINE, "operator")


def put(dashboard: Dashboard, email: str, role: str, slug: str | None = "shop") -> None:
    dashboard.platform.members.put(email, role, slug=slug, actor=OPERATOR)


def roles(dashboard: Dashboard) -> dict[str, str]:
    found = dashboard.platform.members.list(slug="shop", actor=ADMIN)
    return {member.email: member.role.name.lower() for member in found}


def table(page: AppTest) -> list[dict[str, object]]:
    assert not page.exception
    return page.dataframe[0].value.to_dict("records") if page.dataframe else []


def log(dashboard: Dashboard) -> list[str]:
    return [row.action for row in dashboard.platform.audit.list(AuditFilter(), actor=ADMIN)[0]]


def dialog(dashboard: Dashboard, name: str) -> AppTest:
    """The members page with that dialog open."""
    page = dashboard.open("members", project="shop")
    page.session_state["notice:dialog"] = name
    return page.run()


@pytest.fixture
def shop(dashboard: Dashboard) -> Dashboard:
    dashboard.add("shop")
    return dashboard


# --- members ---------------------------------------------------------------------------------------


def test_a_project_without_members_says_what_that_means_in_local_mode(shop: Dashboard):
    page = shop.open("members", project="shop")
    assert "everyone on this machine is an administrator" in texts(page)
    assert "Add a member" in buttons(page)


def test_members_are_listed_with_those_of_all_projects(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    put(shop, "boss@example.com", "manager", None)
    shop.add("search")
    put(shop, "else@example.com", "analyst", "search")
    page = shop.open("members", project="shop")
    assert [(row["E-mail"], row["Role"], row["In"], row["By"]) for row in table(page)] == [
        ("ada@example.com", ["Lead"], "shop", "operator"),
        ("boss@example.com", ["Manager"], "All projects", "operator"),
    ]
    assert "2 members of shop" in texts(page)


def test_a_member_is_added_with_a_role(shop: Dashboard):
    page = dialog(shop, member_forms.ADDING)
    page.text_input(key="member:email").input(" Ada@Example.com ")
    page.radio[0].set_value("lead")
    page = press(page, "Add")
    assert roles(shop) == {"ada@example.com": "lead"}
    assert [row["E-mail"] for row in table(page)] == ["ada@example.com"]
    assert log(shop)[0] == "member:added"


@pytest.mark.parametrize(
    "typed", ["", "ada", "![x](https://evil.example/x.png)", "a@example.com b@example.com"]
)
def test_what_is_no_e_mail_is_refused_in_the_dialog_and_not_repeated(shop: Dashboard, typed: str):
    page = dialog(shop, member_forms.ADDING)
    page.text_input(key="member:email").input(typed)
    page = press(page, "Add")
    assert "That is no e-mail address" in texts(page)
    assert "evil" not in texts(page)
    assert roles(shop) == {}


def test_who_lost_the_right_while_the_dialog_was_open_is_refused(
    shop: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    page = dialog(shop, member_forms.ADDING)
    page.text_input(key="member:email").input("ada@example.com")
    project = shop.platform.projects.get("shop", actor=ADMIN)
    analyst = Actor("mo@example.com", Origin.BROWSER, projects={project.id: Role.ANALYST})
    monkeypatch.setattr(member_forms, "current_actor", lambda: analyst)
    page = press(page, "Add")
    assert roles(shop) == {}
    assert log(shop)[0] == "access:refused"


def choose(shop: Dashboard, page: AppTest, row: int) -> AppTest:
    """Click a row of the table of members."""
    key = "opens:" + member_forms.table_key(shop.platform.members.list(slug="shop", actor=ADMIN))
    page.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return page.run()


def test_a_role_is_changed_and_a_member_removed_after_a_question(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    put(shop, "mo@example.com", "analyst")
    page = press(choose(shop, shop.open("members", project="shop"), 1), "Change the role")
    page.radio[0].set_value("manager")
    page = press(page, "Change")
    assert roles(shop)["mo@example.com"] == "manager"
    page = press(choose(shop, page, 1), ":red[Remove]")
    assert "loses the role manager in shop" in texts(page)
    page = press(page, "Remove")
    assert roles(shop) == {"ada@example.com": "lead"}
    assert log(shop)[:2] == ["member:removed", "member:changed"]


def test_a_choice_by_place_never_becomes_somebody_else(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    put(shop, "mo@example.com", "analyst")
    page = choose(shop, shop.open("members", project="shop"), 1)
    assert ":red[Remove]" in buttons(page)
    shop.platform.members.remove("mo@example.com", slug="shop", actor=OPERATOR)
    put(shop, "zoe@example.com", "manager")
    assert ":red[Remove]" not in buttons(page.run())


def test_the_last_lead_stays_and_the_dialog_says_why(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    page = press(choose(shop, shop.open("members", project="shop"), 0), ":red[Remove]")
    assert "the project's last lead" in texts(press(page, "Remove"))
    assert roles(shop) == {"ada@example.com": "lead"}


def test_five_hundred_members_can_be_searched(shop: Dashboard):
    project = shop.platform.projects.get("shop", actor=ADMIN)
    rows = [
        {
            "scope": project.id,
            "email": f"person{n:03}@example.com",
            "role": "analyst",
            "added_at": n,
            "added_by": "x",
        }
        for n in range(500)
    ]
    with shop.platform.database.write() as connection:
        connection.execute(members.insert(), rows)
    page = shop.open("members", project="shop")
    assert len(table(page)) == 500
    assert "500 members of shop" in texts(page)
    found = table(shop.open("members", project="shop", q="PERSON42"))
    assert [row["E-mail"] for row in found] == [f"person42{n}@example.com" for n in range(10)]
    assert "No member matches" in texts(shop.open("members", project="shop", q="nobody"))


def test_a_hostile_search_is_only_a_search(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    for text in ("%", "' OR 1=1 --", "![x](https://evil.example/x.png)", "*", "x" * 1000):
        page = shop.open("members", project="shop", q=text)
        assert table(page) == []
        assert "evil.example" not in texts(page)


# --- the audit log ---------------------------------------------------------------------------------


def test_a_change_is_listed_with_who_when_what_and_from_where(shop: Dashboard):
    put(shop, "ada@example.com", "lead")
    put(shop, "ada@example.com", "admin")
    first, *rest = table(shop.open("audit_log"))
    assert (first["What"], first["Project"], first["By"], first["From"]) == (
        "Role changed",
        "shop",
        "operator",
        "command line",
    )
    assert (first["Before"], first["After"]) == (
        "email ada@example.com, role lead",
        "email ada@example.com, role admin",
    )
    assert [row["What"] for row in rest][:2] == ["Member added", "Project created"]


def test_filters_come_from_the_address_and_wrong_ones_count_as_none(shop: Dashboard):
    shop.add("search")
    put(shop, "ada@example.com", "lead")
    assert {row["What"] for row in table(shop.open("audit_log", what="member"))} == {"Member added"}
    assert {row["Project"] for row in table(shop.open("audit_log", project="search"))} == {"search"}
    assert {row["By"] for row in table(shop.open("audit_log", by="operator"))} == {"operator"}
    everything = len(table(shop.open("audit_log")))
    assert len(table(shop.open("audit_log", what="x", project="nowhere", by="y"))) == everything


def test_without_matching_rows_the_page_says_so(shop: Dashboard):
    assert "No changes match" in texts(shop.open("audit_log", what="usage"))


def test_refused_attempts_and_sign_ins_have_words_of_their_own(shop: Dashboard):
    mo = Actor("mo@example.com", Origin.BROWSER)
    with pytest.raises(Forbidden):
        shop.platform.projects.add("mine", actor=mo)
    [row] = table(shop.open("audit_log", what="access"))
    assert (row["What"], row["By"], row["After"]) == (
        "Attempt refused",
        "mo@example.com",
        "tried create a project",
    )


def test_the_file_is_complete_opens_safely_and_tells_the_same(shop: Dashboard):
    formula = local_administrator(Origin.COMMAND_LINE, "=cmd|' /c calc'!A1")  # a name of the system's
    shop.platform.members.put("lee@example.com", "lead", slug="shop", actor=formula)
    for _ in range(30):
        put(shop, "ada@example.com", "analyst")
    rows, total = shop.platform.audit.list(AuditFilter(limit=1_000), actor=ADMIN)
    lines = list(csv.DictReader(io.StringIO(audit_list.as_csv(rows).decode())))
    assert len(lines) == total > audit_list.PAGE_ROWS
    assert {line["action"] for line in lines} >= {"member:added", "member:changed", "project:created"}
    assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line.values())
    assert json.loads(lines[0]["after"])["email"] == "ada@example.com"


def test_a_long_log_has_pages(shop: Dashboard):
    for n in range(30):
        put(shop, f"person{n}@example.com", "analyst")
    first = table(shop.open("audit_log", what="member"))
    second = table(shop.open("audit_log", what="member", page="2"))
    assert (len(first), len(second)) == (25, 5)
