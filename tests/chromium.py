"""The browser of the tests: found, installed where it is missing, and started without calling home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Root needs --no-sandbox; the rest keeps Chromium from calling home, which no test wants.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class ServiceMissing(Exception):
    """A program that the tests need is not here; the text says how to get it."""


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start a browser without a window, with a new empty profile.

    While it runs, this thread counts as inside an event loop: ``asyncio.run`` must wait for the end of the block.
    """
    program = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


def empty_page(profile: BrowserContext) -> Page:
    """A new page, for which the profile has forgotten all but what it has loaded."""
    page = profile.new_page()
    profile.clear_cookies()
    stored = {"origin": "*", "storageTypes": "local_storage,indexeddb,cache_storage,service_workers"}
    profile.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    return page


def chromium() -> Path:
    """The browser to drive: ``$CHROMIUM``, an installed one, or Playwright's own."""
    found = _chromium()
    if found is None:
        raise ServiceMissing(
            "No Chromium was found. Install one (Debian: apt-get install chromium) or set CHROMIUM to its path."
        )
    return found


def _chromium() -> Path | None:
    named = os.environ.get("CHROMIUM")
    if named and not Path(named).exists():
        raise ServiceMissing(f"CHROMIUM is {named}, which does not exist. Name a browser, or leave it unset.")
    if named:
        return Path(named)
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _playwrights_own()


def _playwrights_own() -> Path | None:
    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


def install_chromium() -> Path:
    """Find a Chromium, or install one: Debian's as root, else Playwright's.

    Raises:
        ServiceMissing: neither was possible.
    """
    for attempt in (_chromium, _install_from_debian, _install_from_playwright):
        found = attempt()
        if found is not None:
            return found
    return chromium()


def _install_from_debian() -> Path | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("Installing Chromium from the system's packages.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        if not _quietly(["apt-get", "-qq", *command], environment):
            return None
    return _chromium()


def _install_from_playwright() -> Path | None:
    print("Installing Playwright's Chromium.", flush=True)
    if not _quietly([sys.executable, "-m", "playwright", "install", "chromium"], dict(os.environ)):
        return None
    return _chromium()


def _quietly(command: list[str], environment: dict[str, str]) -> bool:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{command[0]} failed: {done.stderr.strip()[-500:]}", file=sys.stderr)
    return done.returncode == 0
