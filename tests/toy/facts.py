"""What every room may know of the toy provider, and its settings."""

from __future__ import annotations

from pydantic import Field

from lib.providers import ProviderFacts
from lib.settings import BaseURL, PlatformKey, Settings

TOY = ProviderFacts(
    name="toy",
    title="Toyland",
    base_url="https://api.toyland.invalid/v9",
    url_variable="TOY_BASE_URL",
    key_variable="QODEX_TOY_API_KEY",
    ambient_key_variable="TOY_API_KEY",
    key_shape=r"toy\.[A-Za-z0-9.*…]{5,}",
    packages=frozenset({"toyland"}),
)


class ToySettings(Settings):
    """The settings with the two lines that a provider adds."""

    toy_api_key: PlatformKey = Field(None, validation_alias=TOY.key_variable, description="platform key")
    toy_base_url: BaseURL = Field(TOY.base_url, validation_alias=TOY.url_variable, description="upstream")
