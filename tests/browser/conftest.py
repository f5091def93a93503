"""The dashboard as people have it: a real server, a real browser, and a provider on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page

from tests.browser.visit import Served, Visit, served

if TYPE_CHECKING:
    from tests.upstream import ScriptedUpstream


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for one file of tests, with a platform key; each test has projects and keys of its own."""
    with served(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest.fixture
def empty_dashboard(tmp_path: Path) -> Iterator[Served]:
    """A server on a machine where nothing was done yet, without a platform key."""
    with served(tmp_path, platform_key=None) as running:
        yield running


@pytest.fixture
def upstream(dashboard: Served) -> ScriptedUpstream:
    """The provider that ``dashboard`` asks."""
    return dashboard.upstream


@pytest.fixture
def visit(dashboard: Served, page: Page) -> Visit:
    """A person at ``dashboard``."""
    return Visit(page, dashboard.address)
