"""A database that goes away while a page is open: said in a sentence, and gone without a press once it is back."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.visit import PATIENCE, Visit
from tests.postgres_crash import mortal_postgres, new_database
from tests.services import running_dashboard
from tests.upstream import PLATFORM_KEY

BACK_BY_ITSELF = "This page comes back by itself"


def test_a_page_says_that_the_database_is_away_and_comes_back_by_itself(tmp_path: Path, page: Page):
    with mortal_postgres() as server:
        environment = {
            "DATABASE_URL": new_database(server),
            "QODEX_MASTER_KEYS": base64.b64encode(os.urandom(32)).decode(),
            "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
        }
        log = tmp_path / "dashboard.log"
        with running_dashboard(environment, log) as address:
            visit = Visit(page, address).open("").press("Create a project")
            visit.fill("Short name", "checkout-api").press("Create project").closed()
            visit.open("run_logs").sees("updates live")
            server.stop()
            visit.sees("The database does not answer. This is the list of before")
            expect(page.get_by_role("alert")).to_have_count(0)
            visit.follow("Plan").sees(BACK_BY_ITSELF)
            server.start()
            visit.sees("5-hour window").sees_no(BACK_BY_ITSELF)
            expect(page.get_by_role("alert")).to_have_count(0, timeout=PATIENCE)
        assert "Uncaught" not in log.read_text()
