"""Pictures of every page, for eyes: ``make screenshots`` writes them into ``screenshots/``.

Light and dark, wide and narrow, with data and on an empty machine. Nothing is compared: look at them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

from tests.browser.sample import fill
from tests.browser.visit import Served, Visit, served
from tests.chromium import running_chromium
from tests.services import ROOT, SIGN_IN
from tests.upstream import WRONG_KEY

WIDTHS = {"wide": 1440, "laptop": 1280, "narrow": 420}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_TALLEST = 4_000


def _entry_rejected(visit: Visit) -> None:
    visit.open("integrations", project="search-ranking").press("Replace")
    visit.fill("New OpenAI API key", WRONG_KEY).press("Check and save").sees("OpenAI rejected this key")


def _test_call(visit: Visit) -> None:
    visit.open("integrations", project="search-ranking").press("Send a test call").press("Send").sees(
        "Paid by"
    )


def _removal(visit: Visit) -> None:
    visit.open("integrations", project="search-ranking").press("Remove").sees("Remove the key")


def _own_caps(visit: Visit) -> None:
    visit.open("plan", project="checkout-api").press("Set own caps").sees("What this changes at once")


def _run_of(slug: str, status: str) -> Callable[[Served], dict[str, str]]:
    def find(dashboard: Served) -> dict[str, str]:
        from lib.runs.log import RunFilter

        wanted = RunFilter(projects=(slug,), statuses=(status,), limit=1)
        rows, _ = dashboard.platform.runs.list(wanted, actor=dashboard.platform.actor)
        return {"run": rows[0].run_id} if rows else {}

    return find


EMPTY = {
    "first-start": "",
    "empty-run-logs": "run_logs",
    "empty-integrations": "integrations",
    "empty-usage": "usage",
}
PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "overview": ("", {}),
    "usage": ("usage", {}),
    "usage-filtered": ("usage", {"project": "checkout-api", "period": "7d", "zone": "Asia/Kolkata"}),
    "usage-nothing": ("usage", {"kind": "chat", "model": "o4-mini"}),
    "run-logs": ("run_logs", {}),
    "integrations-own-key": ("integrations", {"project": "search-ranking"}),
    "integrations-failing": ("integrations", {"project": "mobile-bff"}),
    "integrations-platform": ("integrations", {"project": "checkout-api"}),
    "plan": ("plan", {"project": "checkout-api"}),
    "project": ("project", {"project": "checkout-api"}),
    "alerts": ("alerts", {"project": "checkout-api"}),
    "members": ("members", {}),
    "guide": ("guide", {"chapter": "caps"}),
    "audit-log": ("audit_log", {}),
}
RUNS = {
    "run-provider-error": _run_of("mobile-bff", "error"),
    "run-budget": _run_of("checkout-api", "budget_exceeded"),
    "run-passed": _run_of("search-ranking", "passed"),
}
DIALOGS = {
    "dialog-rejected": _entry_rejected,
    "dialog-test-call": _test_call,
    "dialog-removal": _removal,
    "dialog-own-caps": _own_caps,
}


class Camera:
    """Takes a picture of each state in each theme and width."""

    def __init__(self, browser: Browser, folder: Path, only: str) -> None:
        self.browser, self.folder, self.only = browser, folder, only

    def take(
        self, name: str, dashboard: Served, go: Callable[[Visit], object], widths: dict[str, int]
    ) -> None:
        if self.only not in name:
            return
        for theme in THEMES:
            for width, pixels in widths.items():
                self._take(f"{name}-{theme}-{width}.png", dashboard, go, theme, pixels)

    def _take(
        self,
        name: str,
        dashboard: Served,
        go: Callable[[Visit], object],
        theme: Literal["light", "dark"],
        width: int,
    ) -> None:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, locale="en-GB", timezone_id="UTC"
        )
        page = context.new_page()
        go(Visit(page, dashboard.address))
        page.wait_for_timeout(600)  # charts draw themselves after the script has run
        height = int(page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 900"))
        page.set_viewport_size({"width": width, "height": max(900, min(height, _TALLEST))})
        page.wait_for_timeout(900)
        page.screenshot(path=self.folder / name, animations="disabled")
        context.close()
        print(name, flush=True)


def main() -> None:
    """Serve both machines and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "screenshots")
    parser.add_argument("--only", default="", help="take only those whose name holds this")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with running_chromium() as browser, tempfile.TemporaryDirectory() as temporary:
        camera = Camera(browser, chosen.out, chosen.only)
        _empty(camera, Path(temporary) / "empty")
        _gate(camera, Path(temporary) / "gate")
        _in_use(camera, Path(temporary) / "in-use")


def _empty(camera: Camera, folder: Path) -> None:
    folder.mkdir()
    with served(folder, platform_key=None) as dashboard:
        for name, path in EMPTY.items():
            camera.take(name, dashboard, lambda visit, path=path: visit.open(path), WIDTHS)


def _gate(camera: Camera, folder: Path) -> None:
    folder.mkdir()
    with served(folder, sign_in=SIGN_IN) as dashboard:
        camera.take("sign-in", dashboard, lambda visit: visit.open("usage"), WIDTHS)


def _in_use(camera: Camera, folder: Path) -> None:
    folder.mkdir()
    with served(folder) as dashboard:
        fill(dashboard.platform, dashboard.upstream)
        for name, (path, query) in PAGES.items():
            if path and not list((ROOT / "pages").glob(f"*/{path}.py")):
                continue
            camera.take(
                name, dashboard, lambda visit, path=path, query=query: visit.open(path, **query), WIDTHS
            )
        for name, find in RUNS.items():
            query = find(dashboard)
            camera.take(
                name,
                dashboard,
                lambda visit, query=query: visit.open("run_logs", **query),
                {"wide": WIDTHS["wide"]},
            )
        for name, go in DIALOGS.items():
            camera.take(name, dashboard, go, {"wide": WIDTHS["wide"]})


if __name__ == "__main__":
    main()
