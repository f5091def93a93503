"""What people come for, done on the sample data as they would: look, click, read."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.sample import sample_of
from tests.browser.visit import PATIENCE, Served, Visit, served

PAIR = ("checkout-api", "search-ranking")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard with the sample data."""
    from lib.sample import deployment

    with served(tmp_path_factory.mktemp("dashboard")) as running:
        deployment.load(running.platform, running.platform.actor)
        yield running


@pytest.fixture
def visit(dashboard: Served, page: Page) -> Visit:
    """A person at ``dashboard``."""
    return Visit(page, dashboard.address)


def address(visit: Visit) -> tuple[str, dict[str, list[str]]]:
    """Path and query of the page."""
    parts = urlsplit(visit.page.url)
    return parts.path, parse_qs(parts.query)


def follow(visit: Visit, link: str, slug: str) -> None:
    """Click the link of that name that is about that project."""
    visit.page.locator(f"a[href*='project={slug}']").filter(has_text=link).first.click()


def test_a_manager_finds_the_project_nearest_to_its_cap_and_what_spends_there(
    dashboard: Served, visit: Visit
):
    with sample_of(dashboard.platform) as sample:
        rooms, own = sample.caps.headroom_all(), sample.keys.describe_all()
    capped = {slug: room.nearest for slug, room in rooms.items() if not own[slug].version}
    nearest = max(capped, key=lambda slug: capped[slug].percent)

    visit.open(sample="1").sees("At cap", nearest)
    follow(visit, "Open plan", nearest)
    visit.sees("5-hour window", "At cap")
    assert address(visit)[1]["project"] == [nearest]
    visit.follow("Usage").sees("Spend by model, USD")
    path, query = address(visit)
    assert (path, query["project"]) == ("/usage", [nearest])


def test_a_lead_finds_out_why_runs_fail_and_where_to_mend_it(visit: Visit):
    visit.open(sample="1").sees("Key failing", "mobile-bff")
    follow(visit, "Fix key", "mobile-bff")
    visit.sees("Failing since", "OpenAI says")
    visit.page.get_by_role("link", name="Show runs").first.click()
    visit.page.wait_for_url("**/run_logs?**", timeout=PATIENCE)
    visit.settle()
    path, query = address(visit)
    assert (path, query["project"], query["status"]) == ("/run_logs", ["mobile-bff"], ["error"])


def test_an_analyst_takes_last_month_of_two_projects_in_another_zone(dashboard: Served, visit: Visit):
    from lib.reports.models import UsageFilter
    from lib.usage.periods import preset, zone_named

    visit.open("usage", sample="1").sees("Cost per 1,000 calls")
    visit.choose("Period", "Last month").choose("Time zone", "Asia/Kolkata")
    visit.page.get_by_role("button", name="Projects: all 8").click()
    with sample_of(dashboard.platform) as sample:
        shown = {each.slug: each.titled for each in sample.projects.list(actor=sample.actor)}
    for slug in PAIR:
        visit.choose("Projects", shown[slug])
    visit.page.keyboard.press("Escape")  # the list of options
    visit.page.keyboard.press("Escape")  # what it is in
    visit.closed().sees("2 of 8")
    file = visit.choose_days().press("Prepare CSV").sees("SHA-256").download("Download").path()

    zone = zone_named("Asia/Kolkata")
    period = preset("last_month", zone, time.time_ns() // 1000)
    wanted = UsageFilter(projects=PAIR, since=period.since, until=period.until, zone=zone.key)
    with sample_of(dashboard.platform) as sample:
        sums = sample.reports.totals(wanted, actor=sample.actor)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert {row["project"] for row in rows} == set(PAIR)
    assert sum(int(row["calls"]) for row in rows) == sums.calls > 0
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == sums.total


def test_an_operator_loads_and_removes_sample_data(tmp_path: Path, page: Page):
    with served(tmp_path, platform_key=None) as empty:
        visit = Visit(page, empty.address).open().press("Explore with sample data")
        expect(page.get_by_text("payments-core").filter(visible=True).first).to_be_visible(timeout=PATIENCE)
        visit.press("Remove the sample data").press("Remove").closed()
        visit.sees("No project yet")
        assert not empty.platform.settings.sample_folder.exists()
