"""More projects than a list can hold: they are found by words, and what is chosen stays chosen."""

from __future__ import annotations

import pytest

from lib.clock import SECOND
from lib.ui.base import loaders, query_state
from lib.ui.overview import table
from tests.pages import ADMIN, Dashboard

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
SLUGS = [f"service-{letter}" for letter in "abcdefgh"]


@pytest.fixture
def many(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Dashboard:
    loaders.forget()
    monkeypatch.setattr(query_state, "MOST_SENT", 3)
    for slug in SLUGS:
        dashboard.add(slug)
    return dashboard


def test_a_browser_is_sent_some_projects_and_the_one_that_is_chosen(many: Dashboard):
    page = many.open("plan", project="service-h")
    choice = page.selectbox(key="address:project")
    assert choice.value == "service-h"
    assert choice.options == ["service-h", "service-a", "service-b", "service-c"]


def test_others_are_found_by_words_of_their_title_and_then_chosen(many: Dashboard):
    many.platform.project_changes.describe("service-g", title="Invoices of Asia", actor=ADMIN)
    page = many.open("plan", project="service-a")
    page.text_input(key="find:project").input(" invoices ").run()
    choice = page.selectbox(key="address:project")
    assert choice.options == ["service-a", "service-g · Invoices of Asia"]
    choice.select("service-g").run()
    assert page.query_params["project"] == "service-g"


def test_what_is_chosen_of_several_stays_among_those_that_are_found(many: Dashboard):
    page = many.open("usage", project="service-h")
    page.text_input(key="find:project").input("service-b").run()
    choice = page.multiselect(key="address:project")
    assert choice.options == ["service-h", "service-b"]
    choice.select("service-b").run()
    assert sorted(page.query_params["project"]) == ["service-b", "service-h"]


def test_few_are_not_searched(dashboard: Dashboard):
    dashboard.add("checkout-api")
    assert not [box for box in dashboard.open("plan").text_input if box.key == "find:project"]


def test_very_many_are_looked_at_once_a_minute_and_an_old_look_is_told_from_a_new_one(many: Dashboard):
    first = table.state_of_now(ADMIN, many=True)
    many.platform.projects.add("service-new", actor=ADMIN)
    assert table.state_of_now(ADMIN, many=True) is first
    alone = table.state_of_now(ADMIN)
    assert alone.shown != first.shown
    assert 0 <= alone.at - first.at < 60 * SECOND
