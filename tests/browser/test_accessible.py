"""Everybody can use every page: axe-core finds nothing serious, the keyboard is enough, and 200 % zoom holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, expect

from tests.browser.sample import sample_of
from tests.browser.visit import PATIENCE, Served, Visit, served
from tests.upstream import GOOD_KEY

PAGES = [
    "",
    "usage",
    "run_logs",
    "integrations",
    "plan",
    "project",
    "alerts",
    "members",
    "audit_log",
    "guide",
]
STATES = {"integrations": {"project": "mobile-bff"}, "plan": {"project": "payments-core"}}
BACKGROUNDS: dict[Literal["light", "dark"], str] = {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 21, 28)"}
# Half faded in, a text has half its contrast.
NOTHING_FADES = """() => document.getAnimations().every(
    (each) => each.playState !== "running" || each.effect.getComputedTiming().endTime === Infinity)"""
AXE = "axe.run(document, {resultTypes: ['violations']})"


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard with the sample data: keys that fail and are locked, caps that are reached, runs that wait."""
    from lib.sample import deployment

    with served(tmp_path_factory.mktemp("in-use")) as running:
        deployment.load(running.platform, running.platform.actor)
        yield running


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard on a machine where nothing was done yet."""
    with served(tmp_path_factory.mktemp("untouched"), platform_key=None) as running:
        yield running


def serious(page: Page) -> list[str]:
    """What axe-core finds in either theme that is serious or critical: theme, rule and place."""
    page.evaluate(AXE_SCRIPT)
    found: list[str] = []
    for theme, background in BACKGROUNDS.items():
        page.emulate_media(color_scheme=theme)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background, timeout=PATIENCE)
        page.wait_for_function(NOTHING_FADES, timeout=PATIENCE)
        found += [
            f"{theme}, {violation['id']}: {node['target']}"
            for violation in page.evaluate(AXE)["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]
    return found


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious_on_a_page_in_use(path: str, page: Page, in_use: Served):
    Visit(page, in_use.address).open(path, sample="1", **STATES.get(path, {}))
    assert serious(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious_where_nothing_was_done_yet(path: str, page: Page, untouched: Served):
    Visit(page, untouched.address).open(path)
    assert serious(page) == []


def test_axe_finds_nothing_serious_on_a_run_that_failed(page: Page, in_use: Served):
    from lib.runs.log import RunFilter

    with sample_of(in_use.platform) as sample:
        [run], _ = sample.runs.list(RunFilter(statuses=("error",), limit=1), actor=sample.actor)
    Visit(page, in_use.address).open("run_logs", sample="1", run=run.run_id).sees(f"Run {run.run_id}")
    assert serious(page) == []


def test_axe_finds_nothing_serious_in_the_dialog_for_a_key(page: Page, untouched: Served):
    untouched.platform.projects.add("dialogs", actor=untouched.platform.actor)
    visit = Visit(page, untouched.address).open("integrations", project="dialogs")
    visit.press("Add your key").sees("New OpenAI API key")
    assert serious(page) == []


def test_a_key_is_saved_without_a_mouse(page: Page, in_use: Served):
    in_use.platform.projects.add("keyboard-only", actor=in_use.platform.actor)
    visit = Visit(page, in_use.address).open("integrations", project="keyboard-only")
    _tab_to(page, visit.button("Add your key"))
    page.keyboard.press("Enter")
    field = page.get_by_label("New OpenAI API key", exact=True)
    expect(field).to_be_visible(timeout=PATIENCE)
    _tab_to(page, field)
    page.keyboard.type(GOOD_KEY)
    page.keyboard.press("Enter")
    visit.closed().sees("Untested")


def test_a_project_is_created_without_a_mouse(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open()  # only sample data: the first steps
    _tab_to(page, page.get_by_role("button", name="Create a project", exact=True))
    page.keyboard.press("Enter")
    field = page.get_by_label("Short name", exact=True)
    expect(field).to_be_visible(timeout=PATIENCE)
    _tab_to(page, field)
    page.keyboard.type("by-keyboard")
    page.keyboard.press("Enter")
    visit.closed()
    assert in_use.platform.projects.get("by-keyboard", actor=in_use.platform.actor).plan == "Starter"


def test_the_way_from_page_to_page_needs_no_mouse(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open(sample="1")
    _tab_to(page, page.get_by_role("link", name="Usage", exact=True).first)
    page.keyboard.press("Enter")
    visit.sees("Cost per 1,000 calls")


def _tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until it has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab never reaches {wanted}.")


@pytest.mark.parametrize("path", PAGES)
def test_nothing_leaves_the_window_at_200_percent_zoom(path: str, page: Page, in_use: Served):
    """1,280 pixels at 200 % are 640 wide: what is wider may scroll within itself, the page does not sideways."""
    page.set_viewport_size({"width": 640, "height": 400})
    Visit(page, in_use.address).open(path, sample="1", **STATES.get(path, {}))
    fits = "(e => e.scrollWidth === e.clientWidth)(document.querySelector('[data-testid=stMain]'))"
    page.wait_for_function(fits, timeout=PATIENCE)  # once all is drawn
