"""Settings > Project: title, labels, archive, restore and delete, as a lead or an administrator does them."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.roles import Actor, Origin, Role
from tests.integration.ui.test_pages_spend import use
from tests.pages import ADMIN, Dashboard, buttons, press, texts
from tests.upstream import GOOD_KEY

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def project_page(dashboard: Dashboard) -> AppTest:
    return dashboard.open("project", project="checkout-api")


def test_a_title_is_shown_beside_the_short_name_wherever_a_project_is_chosen(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = project_page(dashboard)
    next(field for field in page.text_input if field.label == "Title").input("Checkout *API*")
    press(page, "Save title")
    assert dashboard.open("plan").selectbox[0].options == ["checkout-api · Checkout *API*"]


def test_labels_are_set_in_the_page_and_a_wrong_one_is_said(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = project_page(dashboard)
    for label, text in (("Label", "Cost Centre"), ("Value", "4711")):
        next(field for field in page.text_input if field.label == label).input(text)
    press(page, "Set label")
    assert "small letters" in page.error[0].value
    page = project_page(dashboard)
    for label, text in (("Label", "cost_centre"), ("Value", "4711")):
        next(field for field in page.text_input if field.label == label).input(text)
    press(page, "Set label")
    assert "4711" in texts(project_page(dashboard))


def test_an_archived_project_leaves_the_choices_and_comes_back(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.add("search-ranking")
    page = press(project_page(dashboard), "Archive")
    page.checkbox(key="archive:key").check().run()
    page.button(key="confirm:project:archive").click().run()
    assert dashboard.key("checkout-api").version == 0
    assert dashboard.open("plan").selectbox[0].options == ["search-ranking"]
    page = project_page(dashboard)
    assert "takes no runs" in texts(page)
    press(page, "Restore")
    assert dashboard.open("plan").selectbox[0].options == ["checkout-api", "search-ranking"]


def test_only_a_project_that_was_never_used_can_be_deleted(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    assert ":red[Delete]" not in buttons(project_page(dashboard))
    dashboard.add("unused")
    page = press(dashboard.open("project", project="unused"), ":red[Delete]")
    page.button(key="confirm:project:delete").click().run()
    assert [project.slug for project in dashboard.platform.projects.list(actor=ADMIN)] == ["checkout-api"]


def test_a_title_stands_with_the_short_name_wherever_there_is_room(dashboard: Dashboard):
    dashboard.add("checkout-api")
    dashboard.platform.project_changes.describe("checkout-api", title="Checkout", actor=ADMIN)
    for name in ("plan", "members", "integrations", "alerts", "project"):
        assert "checkout-api · Checkout" in texts(dashboard.open(name, project="checkout-api"))
    use(dashboard, "1,checkout-api,byok,gpt-5,1")
    usage = dashboard.open("usage", project="checkout-api")
    assert "checkout-api · Checkout · " in texts(usage)
    assert dashboard.open("overview").dataframe[0].value["Title"].tolist() == ["Checkout"]


@pytest.fixture
def analyst(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Actor:
    """Who looks from now on: an analyst of ``shop``, which two people lead, and of ``lonely``."""
    shop, lonely = dashboard.add("shop"), dashboard.add("lonely")
    dashboard.add("hidden")
    put = dashboard.platform.members.put
    for email, slug in (
        ("ada@example.com", "shop"),
        ("bob@example.com", "shop"),
        ("eve@example.com", "hidden"),
    ):
        put(email, "lead", slug=slug, actor=ADMIN)
    actor = Actor(
        "ann@example.com", Origin.BROWSER, projects=dict.fromkeys([shop.id, lonely.id], Role.ANALYST)
    )
    monkeypatch.setattr("lib.ui.shell.guards.local_administrator", lambda *_: actor)
    return actor


@pytest.mark.parametrize("name", ["integrations", "plan", "project", "alerts", "members", "audit_log"])
def test_where_a_lead_has_to_be_asked_the_page_says_who_they_are(
    dashboard: Dashboard, analyst: Actor, name: str
):
    assert analyst.projects
    said = texts(dashboard.open(name, project="shop"))
    assert "ada@example.com, bob@example.com" in said
    assert "eve@example.com" not in said
    assert "hidden" not in said


def test_a_project_without_a_lead_says_who_acts_for_it(dashboard: Dashboard, analyst: Actor):
    said = texts(dashboard.open("integrations", project="lonely"))
    assert "none yet: ask an administrator" in said
    assert analyst.name not in said
