"""A server that goes away and comes back: people read our words, and nothing that they press is without an answer."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lib.access.roles import Origin, local_administrator
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.ui.shell.restarts import LOST
from tests.browser.visit import PATIENCE, Visit
from tests.services import _free_port, running_dashboard
from tests.upstream import PLATFORM_KEY, ScriptedUpstream

NO_ANSWER = "Qodex does not answer."


class Machine:
    """One address where a dashboard is served, again and again, over the same database."""

    def __init__(self, folder: Path, upstream: ScriptedUpstream) -> None:
        self.url, self.port, self.folder = f"sqlite:///{folder / 'qodex.db'}", _free_port(), folder
        self.address = f"http://localhost:{self.port}"
        self.environment = {
            "DATABASE_URL": self.url,
            "QODEX_MASTER_KEYS": base64.b64encode(os.urandom(32)).decode(),
            "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
            "OPENAI_BASE_URL": upstream.base_url,
            "ANTHROPIC_BASE_URL": upstream.root_url,
            "GEMINI_BASE_URL": upstream.root_url,
        }

    def projects(self) -> list[str]:
        secret = Secret(self.environment["QODEX_MASTER_KEYS"])
        platform = Platform(Settings(database_url=self.url, master_keys=secret))
        found = [each.slug for each in platform.projects.list(actor=local_administrator(Origin.BROWSER))]
        platform.close()
        return found

    @contextmanager
    def running(self) -> Iterator[None]:
        with running_dashboard(self.environment, self.folder / "dashboard.log", port=self.port):
            yield


@pytest.fixture
def machine(tmp_path: Path, upstream: ScriptedUpstream) -> Machine:
    return Machine(tmp_path, upstream)


def connected_again(page: Page) -> None:
    """The browser has found the server, without that anything was pressed."""
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').dataset.testConnectionState === 'CONNECTED'",
        timeout=PATIENCE,
    )


def test_a_dialog_that_outlives_its_server_closes_and_says_that_nothing_was_saved(
    machine: Machine, page: Page
):
    with machine.running():
        visit = Visit(page, machine.address).open("").press("Create a project")
        visit.fill("Short name", "checkout-api")
    page.get_by_text(NO_ANSWER).wait_for(timeout=PATIENCE)
    assert "Streamlit" not in page.inner_text("body")
    assert "streamlit run" not in page.inner_text("body")
    with machine.running():
        connected_again(page)
        page.get_by_role("button", name="Create project", exact=True).click()
        visit.sees(LOST).closed()
        assert machine.projects() == []
        visit.press("Create a project").fill("Short name", "checkout-api").press("Create project").closed()
        assert machine.projects() == ["checkout-api"]


def test_a_part_of_a_page_that_outlives_its_server_brings_the_whole_page_back(machine: Machine, page: Page):
    """What is drawn anew by itself every few seconds, for one: it asks for what the new process does not know."""
    with machine.running():
        visit = Visit(page, machine.address).open("").press("Create a project")
        visit.fill("Short name", "checkout-api").press("Create project").closed()
        visit.open("plan", project="checkout-api").sees("5-hour window")
    page.get_by_text(NO_ANSWER).wait_for(timeout=PATIENCE)
    with machine.running():
        visit.sees(LOST, "5-hour window")
        expect(page.get_by_text(NO_ANSWER)).to_have_count(0, timeout=PATIENCE)
        assert "came_back" not in page.url
        assert "does not exist anymore" not in (machine.folder / "dashboard.log").read_text()
