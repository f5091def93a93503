"""A project that makes calls: platform-funded (``shop``), or on a key of its own (``byok``, and a ``run`` of it)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.upstream import GOOD_KEY, PLATFORM_KEY

if TYPE_CHECKING:
    from lib.platform import Platform, Run
    from lib.settings import Settings
    from tests.masters import Server
    from tests.pages import Dashboard
    from tests.spending import Clock
    from tests.upstream import ScriptedUpstream


@pytest.fixture
def shop(settings: Settings) -> Iterator[Platform]:
    """A front door with a platform key and the project ``shop``, which has no key of its own."""
    from lib.platform import Platform
    from lib.secret import Secret

    real_front_door = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    real_front_door.projects.add("shop", actor=real_front_door.actor)
    yield real_front_door
    real_front_door.close()


@pytest.fixture
def clock() -> Clock:
    """Stands still at noon until a test moves it."""
    from tests.spending import Clock

    return Clock()


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """Three projects with a key each, sealed with the old master key."""
    from lib.vault.master_keys import keyfile
    from tests.masters import ALL, OLD, OPERATOR, Server

    path = tmp_path / "keys" / "master.key"
    keyfile.create(path, keyfile.text_of([OLD]))
    made = Server(database_url, path)
    for slug, key in ALL.items():
        made.vault.projects.add(slug, actor=OPERATOR)
        made.save(slug, key)
    yield made
    made.database.close()


@pytest.fixture
def byok(shop: Platform, upstream: ScriptedUpstream) -> Platform:
    """``shop`` with a key of its own."""
    shop.keys.save("shop", GOOD_KEY)
    upstream.requests.clear()
    return shop


@pytest.fixture
def run(byok: Platform) -> Iterator[Run]:
    """A run of ``shop`` on its own key."""
    with byok.run("shop") as run:
        yield run


@pytest.fixture
def dashboard(settings: Settings, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    """The pages over the same database, in the local mode."""
    from lib.ui.base.loaders import forget
    from lib.ui.base.server import real_front_door
    from tests.pages import Dashboard

    assert settings.master_keys
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("QODEX_MASTER_KEYS", settings.master_keys.reveal())
    monkeypatch.setenv("OPENAI_BASE_URL", settings.openai_base_url)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", settings.anthropic_base_url)
    monkeypatch.setenv("GEMINI_BASE_URL", settings.google_base_url)
    real_front_door.clear()
    forget()
    yield Dashboard(platform)
    real_front_door().close()
    real_front_door.clear()
