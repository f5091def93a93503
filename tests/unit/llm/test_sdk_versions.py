"""An SDK of a version that nobody has tried is named before a client of it is made."""

from __future__ import annotations

import tomllib
from types import ModuleType

import pytest

from lib.errors import SdkUnsupported
from lib.llm.anthropic import sdk as anthropic
from lib.llm.google import sdk as google
from lib.llm.openai import sdk as openai
from tests.services import ROOT

SDKS = {
    "openai": (openai, "openai.__version__", "openai>=3.0,<4", ("2.54.0", "4.0.0")),
    "anthropic": (anthropic, "anthropic.__version__", "anthropic>=2.14,<3", ("1.99.0", "2.13.9", "3.0.0")),
    "google": (
        google,
        "google.genai.version.__version__",
        "google-genai>=3.6,<4",
        ("2.99.0", "3.5.9", "4.0.0"),
    ),
}


@pytest.mark.parametrize(("sdk", "place", "wanted", "versions"), list(SDKS.values()), ids=list(SDKS))
def test_an_sdk_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, sdk: ModuleType, place: str, wanted: str, versions: tuple[str, ...]
) -> None:
    sdk.require_supported()
    for version in versions:
        monkeypatch.setattr(place, version)
        with pytest.raises(SdkUnsupported, match=rf" {version} does not fit.*{wanted}"):
            sdk.require_supported()


@pytest.mark.parametrize(("sdk", "wanted"), [(told[0], told[2]) for told in SDKS.values()], ids=list(SDKS))
def test_the_range_that_is_checked_is_the_range_that_is_required(sdk: ModuleType, wanted: str) -> None:
    oldest, below = (".".join(map(str, end)) for end in (sdk.OLDEST, sdk.BELOW))
    assert wanted == f"{wanted.partition('>')[0]}>={oldest},<{below}"
    assert wanted in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
