"""A project ``shop`` and platform keys of every provider; ``on_own_key`` has a key of its own of the one that is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from tests.providers import PROVIDERS, ProviderCase
from tests.upstream import ScriptedUpstream


@pytest.fixture
def funded(settings: Settings) -> Iterator[Platform]:
    """The project has no key of its own; the platform has one of each provider."""
    keys = {f"{case.name}_api_key": Secret(case.platform_key) for case in PROVIDERS.values()}
    platform = Platform(settings.model_copy(update=keys))
    platform.projects.add("shop", actor=platform.actor)
    yield platform
    platform.close()


@pytest.fixture
def on_own_key(funded: Platform, provider: ProviderCase, upstream: ScriptedUpstream) -> Platform:
    """The project has a key of its own of that provider."""
    funded.keys.save("shop", provider.key, provider=provider.name)
    upstream.requests.clear()
    return funded
