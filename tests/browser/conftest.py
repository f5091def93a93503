"""A dashboard in a process of its own, over a database and an upstream of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import running_dashboard

if TYPE_CHECKING:
    from lib.settings import Settings
    from tests.upstream import ScriptedUpstream


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Everything the dashboard prints."""
    return tmp_path / "dashboard.log"


@pytest.fixture
def address(settings: Settings, upstream: ScriptedUpstream, log: Path) -> Iterator[str]:
    """Where the dashboard is served, with a platform key."""
    from tests.upstream import PLATFORM_KEY

    assert settings.master_keys
    environment = {
        "DATABASE_URL": settings.database_url,
        "QODEX_MASTER_KEYS": settings.master_keys.reveal(),
        "OPENAI_BASE_URL": upstream.base_url,
        "ANTHROPIC_BASE_URL": upstream.root_url,
        "GEMINI_BASE_URL": upstream.root_url,
        "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
    }
    with running_dashboard(environment, log) as served:
        yield served
