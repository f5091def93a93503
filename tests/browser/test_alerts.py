"""A lead chooses who is told, tries it, and takes it back, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.test_spend import click_in
from tests.browser.visit import Served, Visit, served


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("alerts")) as running:
        running.platform.projects.add("checkout-api", actor=running.platform.actor)
        yield running


def test_a_webhook_is_added_tested_and_removed_and_nothing_shows_its_address(dashboard: Served, page: Page):
    visit = Visit(page, dashboard.address).open("alerts", project="checkout-api").sees("no channel was added")
    visit.press("Add a channel").sees("An incoming webhook")
    page.get_by_text("Webhook", exact=True).first.click()
    visit.fill("Address", "https://hooks.invalid/services/secret-path-abcd").press("Add")
    visit.sees("It is shown this once").press("Done").closed()
    visit.sees_no("no channel was added", "whsec_")
    table = page.get_by_test_id("stDataFrame").first
    click_in(page, table, 200, 52)
    visit.press("Send a test").sees("did not accept the test: The host has no address")
    visit.press("Remove").sees("gets no more alerts").press("Remove").closed()
    visit.sees("No channel yet")
    (frames,) = [b"".join(visit.received)]
    assert b"secret-path" not in frames
    assert dashboard.platform.alerts.channels.list("checkout-api", actor=dashboard.platform.actor) == []


def test_thresholds_are_chosen_and_stay(dashboard: Served, page: Page):
    visit = Visit(page, dashboard.address).open("alerts", project="checkout-api")
    page.get_by_text("95%", exact=True).click()
    visit.press("Save").sees("Saved.")
    visit.open("alerts", project="checkout-api")
    who = dashboard.platform.actor
    assert list(dashboard.platform.alerts.preferences.get("checkout-api", actor=who).thresholds) == [80, 95]
    assert page.get_by_label("95%").is_checked()
