"""What is chosen on a page can be kept, sent and taken back: saved views, the link, and the browser's Back."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.sample import fill
from tests.browser.test_spend import click_in
from tests.browser.visit import PATIENCE, Served, Visit, served


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Eight projects, ninety days of calls and a few runs."""
    with served(tmp_path_factory.mktemp("views")) as running:
        fill(running.platform, running.upstream)
        yield running


def chosen(page: Page) -> list[tuple[str, str]]:
    return sorted(parse_qsl(urlsplit(page.url).query))


def filter_by(visit: Visit) -> list[tuple[str, str]]:
    """Choose something of every kind: a period, a zone and two filters."""
    visit.choose("Period", "Last 7 days").choose("Time zone", "Asia/Kolkata")
    visit.page.get_by_role("button", name="Projects: all 8").click()
    visit.choose("Projects", "search-ranking")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("Escape")
    visit.settle().page.get_by_role("button", name="Status: all 5").click()
    visit.choose("Status", "Answered")
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("Escape")
    visit.sees("Projects: search-ranking", "Status: Answered")
    return chosen(visit.page)


def open_views(visit: Visit) -> Visit:
    visit.settle().page.get_by_role("button", name="Views").click()
    return visit.sees("Copy link")


def test_a_view_is_saved_opened_renamed_and_deleted(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("usage")
    wanted = filter_by(visit)
    open_views(visit).press("Save this view")
    visit.fill("Name", "Search in IST")
    page.get_by_text("Members of search-ranking").click()
    visit.press("Save").closed().sees("View Search in IST saved")

    open_views(visit.open("usage")).press("Search in IST")
    visit.sees("Projects: search-ranking", "Status: Answered", "vs 7 d before")
    assert chosen(page) == wanted

    visit.press("Rename or delete").fill("Name", "Search").press("Rename").closed().sees(
        "View Search renamed"
    )
    open_views(visit.open("run_logs")).sees("No saved views of this page yet")
    open_views(visit.open("usage")).press("Rename or delete").press("Delete").closed()
    open_views(visit.open("usage")).sees("No saved views of this page yet")
    visit.open("audit_log", what="view")
    table = page.get_by_test_id("stDataFrame").first
    expect(table.locator("td", has_text="View deleted")).to_have_count(1, timeout=PATIENCE)
    expect(table.locator("td", has_text="View shared")).to_have_count(1)


def test_the_copied_link_shows_a_colleague_all_that_was_chosen(page: Page, in_use: Served):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=in_use.address)
    visit = Visit(page, in_use.address).open("usage")
    filter_by(visit)
    open_views(visit).press("Copy link").sees("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    caption = page.get_by_test_id("stCaptionContainer").first.inner_text()
    page.goto("about:blank")
    page.goto(link)
    visit.settle().sees("Projects: search-ranking", "Status: Answered", "vs 7 d before")
    now = page.get_by_test_id("stCaptionContainer").first.inner_text()
    assert now.split(",")[0] == caption.split(",")[0]  # behind it stands the time


def test_back_takes_one_step_back_and_never_a_piece_of_one(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("")
    click_in(page, page.locator("[data-testid=stVegaLiteChart][aria-label^='Spend per day']"), 500, 150)
    visit.sees("hours in UTC")
    day = page.url
    visit.choose("Period", "Last 7 days").sees("vs 7 d before")
    week = page.url
    click_in(page, page.get_by_test_id("stDataFrame").first, 330, 35 + 19)
    page.wait_for_url("**/usage?*", timeout=PATIENCE)
    project = visit.settle().page.url
    visit.follow("Plan").sees("5-hour window")
    for expected in (project, week, day, f"{in_use.address}/"):
        page.go_back()
        page.wait_for_url(expected, timeout=PATIENCE)
        visit.settle()
    page.go_forward()
    visit.settle().sees("hours in UTC")
    assert page.url == day


def test_a_page_that_names_its_project_by_itself_is_no_step(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("")
    visit.follow("Plan").sees("5-hour window")
    assert chosen(page)[0][0] == "project"
    page.go_back()
    page.wait_for_url(f"{in_use.address}/", timeout=PATIENCE)
    visit.settle().sees("Spend overview")
