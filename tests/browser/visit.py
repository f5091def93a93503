"""A person in front of the dashboard, and the server they look at."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import Download, Locator, Page, Request, WebSocket, expect

from tests.browser.runs import KEEP_COUNT, RUN_IS_DRAWN
from tests.services import running_dashboard
from tests.upstream import PLATFORM_KEY, ScriptedUpstream

if TYPE_CHECKING:
    from lib.platform import Platform

# Long enough for a busy machine; nothing waits for it where all is well.
PATIENCE = 300_000


@dataclass
class Served:
    """A running dashboard: where it is, the provider it asks, its front door for arranging, and its log."""

    address: str
    upstream: ScriptedUpstream
    platform: Platform
    log: Path


@contextmanager
def served(
    folder: Path, platform_key: str | None = PLATFORM_KEY, sign_in: dict[str, str] | None = None
) -> Iterator[Served]:
    """Serve a new database in ``folder``, in local mode or with the variables of ``sign_in``."""
    from lib.access.roles import Origin, local_administrator
    from lib.platform import Platform
    from lib.secret import Secret
    from lib.settings import Settings

    master = base64.b64encode(os.urandom(32)).decode()
    with ScriptedUpstream() as upstream:
        url = f"sqlite:///{folder / 'qodex.db'}"
        environment = {
            "DATABASE_URL": url,
            "QODEX_MASTER_KEYS": master,
            "OPENAI_BASE_URL": upstream.base_url,
            "ANTHROPIC_BASE_URL": upstream.root_url,
            "GEMINI_BASE_URL": upstream.root_url,
            **({"QODEX_OPENAI_API_KEY": platform_key} if platform_key else {}),
            **(sign_in or {}),
        }
        public = sign_in is not None
        with running_dashboard(environment, folder / "dashboard.log", public_url=public) as address:
            settings = Settings(
                database_url=url,
                master_keys=Secret(master),
                openai_base_url=upstream.base_url,
                anthropic_base_url=upstream.root_url,
                google_base_url=upstream.root_url,
                openai_api_key=Secret(platform_key) if platform_key else None,
            )
            platform = Platform(settings, actor=local_administrator(Origin.BROWSER))
            yield Served(address, upstream, platform, folder / "dashboard.log")
            platform.close()


@dataclass
class Visit:
    """One tab. ``received`` is all that the server sent over its web sockets, ``asked`` every address asked for.

    Whatever is done or looked at here waits until all that was done before is drawn.
    """

    page: Page
    address: str
    provider: str = "openai"  # whose card on Integrations is meant
    received: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.add_init_script(KEEP_COUNT)
        self.page.on("websocket", self._listen)
        self.page.on("request", self._note)

    def _listen(self, socket: WebSocket) -> None:
        self.asked.append(socket.url)
        socket.on("framereceived", self._keep)

    def _keep(self, payload: str | bytes) -> None:
        self.received.append(payload if isinstance(payload, bytes) else payload.encode())

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    @property
    def elsewhere(self) -> set[str]:
        """Other hosts that the page asked for anything."""
        here = {"", urlsplit(self.address).hostname}
        return {urlsplit(url).hostname or "" for url in self.asked} - here

    def open(self, path: str = "", **query: str) -> Visit:
        """Go to an address of the dashboard and wait until it is drawn."""
        self.page.goto(f"{self.address}/{path}{'?' + urlencode(query) if query else ''}")
        return self.settle()

    def settle(self) -> Visit:
        """Wait until the run that was asked for last has ended and is drawn."""
        self.page.wait_for_function(RUN_IS_DRAWN, timeout=PATIENCE)
        return self

    def follow(self, link: str) -> Visit:
        """Click a link of the sidebar or the page."""
        self.settle().page.get_by_role("link", name=link, exact=True).first.click()
        return self.settle()

    def press(self, button: str) -> Visit:
        """Click a button; an open dialog's first."""
        self.button(button).click()
        return self

    def button(self, name: str) -> Locator:
        dialog, card = self.settle().dialog, self.page.locator(f".st-key-provider-{self.provider}")
        for place in (dialog, card):
            if (found := place.get_by_role("button", name=name, exact=True)).count():
                return found.last
        return self.page.get_by_role("button", name=name, exact=True).last

    def fill(self, label: str, text: str) -> Visit:
        """Type into a field of that label."""
        self.settle().page.get_by_label(label, exact=True).fill(text)
        return self

    def choose(self, label: str, option: str) -> Visit:
        """Choose one of a list by typing its name."""
        field = self.settle().page.get_by_role("combobox", name=label).last
        field.click()
        field.fill(option)
        self.page.get_by_role("option", name=option, exact=True).click()
        return self.settle()

    def choose_days(self) -> Visit:
        """Choose the daily summary on the export card, and wait until the card is about it."""
        self.settle().page.get_by_text("Days (CSV)").first.click()
        self.page.locator("a[href*='/export/usage.daily.csv']").first.wait_for(timeout=PATIENCE)
        return self.settle()

    def download(self, link: str) -> Download:
        """Follow a link to a file. It opens a tab, which is gone once it turns out to be a file."""
        found: list[Download] = []

        def keep(download: Download) -> None:
            found.append(download)

        self.page.context.on("page", lambda tab: tab.on("download", keep))
        self.page.on("download", keep)
        self.settle().page.get_by_role("link", name=link, exact=True).click()
        for _ in range(PATIENCE // 20):
            if found:
                return found[0]
            self.page.wait_for_timeout(20)
        raise AssertionError(f"{link} leads to no file.")

    def sees(self, *texts: str) -> Visit:
        """Expect each text to be visible, soon."""
        self.settle()
        for text in texts:
            # A table's canvas has hidden cells with the same texts, sooner or later.
            seen = self.page.get_by_text(text).filter(visible=True)
            expect(seen.first).to_be_visible(timeout=PATIENCE)
        return self

    def sees_no(self, *texts: str) -> Visit:
        self.settle()
        for text in texts:
            expect(self.page.get_by_text(text)).to_have_count(0, timeout=PATIENCE)
        return self

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def closed(self) -> Visit:
        """Expect the dialog to have closed."""
        expect(self.dialog).to_have_count(0, timeout=PATIENCE)
        return self.settle()
