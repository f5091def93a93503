"""Saved views: a person's own are theirs alone, a project's are its members', and leads alone share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lib.access.auditlog import AuditFilter
from lib.access.roles import Actor, Origin, local_administrator
from lib.access.saved_views import LONGEST_NAME, LONGEST_QUERY, MOST, SavedView
from lib.errors import BadInput, Forbidden, ProjectUnknown
from lib.platform import Platform

ROOT = local_administrator(Origin.COMMAND_LINE, "operator")
BYOK = "period=7d&source=byok"


@pytest.fixture
def org(platform: Platform) -> Platform:
    """Two projects, without members."""
    for slug in ("shop", "till"):
        platform.projects.add(slug, actor=ROOT)
    return platform


def somebody(org: Platform, name: str, role: str, slug: str | None = "shop") -> Actor:
    email = f"{name}@example.com"
    org.members.put(email, role, slug=slug, actor=ROOT)
    return org.members.actor(email, Origin.BROWSER)


def seen(org: Platform, who: Actor, page: str | None = "usage", slugs: Sequence[str] = ()) -> list[str]:
    return [view.name for view in org.saved_views.list(page=page, slugs=slugs, actor=who)]


def save(org: Platform, name: str, who: Actor, slug: str | None = None, query: str = BYOK) -> SavedView:
    return org.saved_views.save(name, page="usage", query=query, slug=slug, actor=who)


def changes(org: Platform) -> list[tuple[str, str | None, str]]:
    rows, _ = org.audit.list(AuditFilter(actions=("view",), limit=100), actor=ROOT)
    return [(row.action, row.project, row.actor) for row in rows]


def test_a_persons_own_views_are_seen_and_changed_by_nobody_else(org: Platform):
    ada, lead = somebody(org, "ada", "analyst"), somebody(org, "lead", "lead")
    view = save(org, "Mine", ada)
    assert (seen(org, ada), seen(org, lead), seen(org, ROOT)) == (["Mine"], [], [])
    for other in (lead, ROOT):
        with pytest.raises(BadInput, match="no such view"):
            org.saved_views.delete(view.view_id, actor=other)
        with pytest.raises(BadInput, match="no such view"):
            org.saved_views.rename(view.view_id, "Theirs", slug="shop", actor=ROOT)
    assert changes(org) == []


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_only_leads_share_rename_and_delete_what_members_see(org: Platform, role: str):
    lead, other = somebody(org, "lead", "lead"), somebody(org, "other", role)
    view = save(org, "Ours", lead, "shop")
    assert [each.may_change for each in org.saved_views.list(actor=other)] == [False]
    for act in (
        lambda: save(org, "Theirs", other, "shop"),
        lambda: org.saved_views.rename(view.view_id, "Theirs", slug="shop", actor=other),
        lambda: org.saved_views.delete(view.view_id, slug="shop", actor=other),
    ):
        with pytest.raises(Forbidden, match="takes the role lead"):
            act()
    assert seen(org, other) == ["Ours"]


def test_who_is_no_member_sees_and_shares_nothing_of_a_project(org: Platform):
    lead, stranger = somebody(org, "lead", "lead"), somebody(org, "stranger", "lead", "till")
    save(org, "Ours", lead, "shop")
    assert seen(org, stranger) == []
    assert seen(org, stranger, slugs=["shop"]) == []
    with pytest.raises(ProjectUnknown):
        save(org, "Theirs", stranger, "shop")
    with pytest.raises(Forbidden):
        save(org, "Mine", Actor("nobody@example.com", Origin.BROWSER))


def test_a_shared_view_names_no_project_that_its_members_may_not_know_of(org: Platform):
    with pytest.raises(BadInput, match="may name no other project"):
        save(org, "Both", ROOT, "shop", "project=shop&project=till")
    assert save(org, "One", ROOT, "shop", "project=shop").query == "project=shop"
    assert save(org, "Both", ROOT, None, "project=shop&project=till").name == "Both"


def test_what_is_shared_is_in_the_audit_log_with_who_did_it(org: Platform):
    lead = somebody(org, "lead", "lead")
    view = save(org, "Ours", lead, "shop")
    org.saved_views.rename(view.view_id, "Ours, renamed", slug="shop", actor=ROOT)
    assert seen(org, lead) == ["Ours, renamed"]
    org.saved_views.delete(view.view_id, slug="shop", actor=lead)
    assert changes(org) == [
        ("view:deleted", "shop", lead.name),
        ("view:renamed", "shop", "operator"),
        ("view:shared", "shop", lead.name),
    ]
    assert seen(org, lead) == []


def test_views_are_listed_by_page_own_ones_first_then_by_project(org: Platform):
    for name, slug in (("b", "till"), ("d", "shop"), ("c", "shop"), ("z", None)):
        save(org, name, ROOT, slug)
    org.saved_views.save("elsewhere", page="run_logs", query="", actor=ROOT)
    assert seen(org, ROOT) == ["z", "c", "d", "b"]
    assert seen(org, ROOT, slugs=["till"]) == ["z", "b"]
    assert seen(org, ROOT, page=None) == ["elsewhere", "z", "c", "d", "b"]


def test_a_name_is_taken_on_one_page_of_one_owner_only(org: Platform):
    ada = somebody(org, "ada", "lead")
    first, _ = save(org, "Same", ada), save(org, "Other", ada)
    save(org, "Same", ada, "shop")
    save(org, "Same", ROOT)
    org.saved_views.save("Same", page="", query="", actor=ada)
    for taken in (
        lambda: save(org, " Same ", ada),
        lambda: org.saved_views.rename(first.view_id, "Other", actor=ada),
    ):
        with pytest.raises(BadInput, match="of that name already"):
            taken()
    org.saved_views.rename(first.view_id, "Same", actor=ada)


@pytest.mark.parametrize(
    ("name", "page", "query"),
    [
        ("", "usage", BYOK),
        (" \n", "usage", BYOK),
        ("n" * (LONGEST_NAME + 1), "usage", BYOK),
        ("reversed \u202e", "usage", BYOK),
        ("Name", "../usage", BYOK),
        ("Name", "p" * 41, BYOK),
        ("Name", "usage", "q=" + "x" * LONGEST_QUERY),
        ("Name", "usage", "q=\x00"),
    ],
)
def test_what_cannot_be_a_view_is_not_saved(org: Platform, name: str, page: str, query: str):
    with pytest.raises(BadInput):
        org.saved_views.save(name, page=page, query=query, actor=ROOT)
    assert seen(org, ROOT, page=None) == []


def test_a_person_has_fifty_views_at_most(org: Platform):
    for number in range(MOST):
        save(org, f"View {number}", ROOT)
    with pytest.raises(BadInput, match="50 views already"):
        save(org, "One more", ROOT)
    save(org, "Shared", ROOT, "shop")


def test_the_views_of_a_deleted_project_go_with_it(org: Platform):
    save(org, "Ours", ROOT, "shop")
    org.project_changes.delete("shop", actor=ROOT)
    org.projects.add("shop", actor=ROOT)
    assert seen(org, ROOT) == []
