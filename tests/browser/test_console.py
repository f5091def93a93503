"""The browser's console is clean: nothing refused, blocked or broken, on any page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, Page

from lib.ui.base import navigation
from tests.browser.visit import Served, Visit, served
from tests.chromium import empty_page
from tests.services import SIGN_IN

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Response


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("dashboard")) as running:
        running.platform.projects.add("shop", actor=running.platform.actor)
        yield running


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser has to say: errors, warnings, and answers that are refusals."""
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            said.append(f"{message.type}: {message.text}")

    def look(answer: Response) -> None:
        if answer.status >= 400:
            said.append(f"{answer.status} {answer.url}")

    page.on("console", listen)
    page.on("response", look)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    return said


@pytest.mark.parametrize("name", [path.strip("/") for path in navigation.paths()])
def test_no_page_leaves_a_complaint_in_the_console(
    dashboard: Served, page: Page, complaints: list[str], name: str
):
    Visit(page, dashboard.address).open(name, project="shop").settle()
    assert page.title() != "Streamlit"
    assert complaints == []


def test_what_a_page_stores_no_other_test_finds(dashboard: Served, page: Page, profile: BrowserContext):
    Visit(page, dashboard.address).open()
    page.evaluate("() => { localStorage.kept = 'yes'; document.cookie = 'kept=yes' }")
    other = empty_page(profile)
    Visit(other, dashboard.address).open()
    assert other.evaluate("() => [localStorage.kept, document.cookie.includes('kept')]") == [None, False]


def test_neither_does_the_gate(page: Page, complaints: list[str], tmp_path):
    with served(tmp_path, sign_in=SIGN_IN) as guarded:
        Visit(page, guarded.address).open("usage").sees("Sign in")
        assert complaints == []


def test_no_script_runs_that_is_not_ours(dashboard: Served, page: Page, complaints: list[str]):
    """The policy names the inline scripts of the page by their hashes, and no others."""
    Visit(page, dashboard.address).open("usage", project="shop").settle()
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.planted = 1";
            document.head.append(script);
            return window.planted === 1;
        }"""
    )
    assert not ran
    assert any("Content Security Policy" in each for each in complaints)
