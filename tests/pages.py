"""The pages as Streamlit's AppTest runs them: from the main script, over a database of the test."""

from __future__ import annotations

import os
from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from lib.access.projects import Project
from lib.access.roles import Origin, local_administrator
from lib.platform import Platform
from lib.vault.states import KeyState

ROOT = Path(__file__).resolve().parents[1]
MAIN = ROOT / "lib" / "ui" / "main.py"
ADMIN = local_administrator(Origin.BROWSER)
PAGES = {
    "overview": "spend/overview.py",
    "run_logs": "runs/run_logs.py",
    "integrations": "settings/integrations.py",
    "usage": "settings/usage.py",
    "plan": "settings/plan.py",
    "project": "settings/project.py",
    "alerts": "settings/alerts.py",
    "members": "settings/members.py",
    "audit_log": "settings/audit_log.py",
    "guide": "help/guide.py",
}


class Dashboard:
    """Every page, and ``platform`` to arrange what they show and to see what they did."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def add(self, slug: str, key: str | None = None) -> Project:
        """A project, with a key of its own where one is given."""
        project = self.platform.projects.add(slug, actor=ADMIN)
        if key:
            self.platform.keys.save(slug, key, actor=ADMIN)
        return project

    def key(self, slug: str) -> KeyState:
        return self.platform.keys.describe(slug, actor=ADMIN)

    def open(self, name: str, **address: str) -> AppTest:
        """The page as a person sees it who opens its address."""
        page = from_main()
        page._page_hash = calc_hash(name)  # as a browser asks for it: by the path of its address
        for parameter, value in address.items():
            page.query_params[parameter] = value
        return page.run()


def from_main() -> AppTest:
    return AppTest.from_file(MAIN, default_timeout=300)


def file_of(name: str) -> str:
    return os.path.relpath(ROOT / "pages" / PAGES[name], MAIN.parent)


def texts(page: AppTest) -> str:
    """All that is written on the page, in Markdown without its escapes."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "success", "toast")
    found = [str(element.value) for kind in kinds for element in page.get(kind)]
    tables = [table.value.to_string(max_colwidth=None) for table in page.table]
    return "\n".join(found + tables).replace("\\", "")


def buttons(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def press(page: AppTest, label: str) -> AppTest:
    """Click the button of that label and let the page run."""
    next(button for button in page.button if button.label == label).click()
    return page.run()
