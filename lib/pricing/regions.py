"""Data-residency hosts, and what they cost more.

OpenAI charges 10 % more at a regional host for models released on or after 2026-03-05
(https://developers.openai.com/api/docs/guides/data-residency.md). Its price table states neither hosts nor
release dates, so the families stand here by name; what is on neither list is unknown at such a host.
"""

from __future__ import annotations

import re

_REGIONAL = re.compile(r"(?P<region>[a-z0-9.-]+)\.api\.openai\.com", re.ASCII)
PERCENT_MORE = 10
_RELEASED_SINCE = re.compile(r"(ft:)?gpt-(5[.-][4-9]|[6-9]|[1-9]\d)(?!\d)", re.ASCII)
_RELEASED_BEFORE = re.compile(
    r"(ft:)?(gpt-(35|3\.5|4|4o|4\.1|4\.5|5|5[.-][0-3])|chatgpt-4o|o[134]|text-embedding|davinci|babbage|codex-mini"
    r"|computer-use)(?![\w.])",
    re.ASCII,
)


def region_of(host: str) -> str:
    """The region of a provider's host, such as ``eu``; empty for any other host."""
    found = _REGIONAL.fullmatch(host.lower().rstrip("."))
    return found["region"] if found else ""


def percent_more(provider: str, model: str, region: str) -> int | None:
    """By how many per cent a model's tokens cost more in this region; None where the provider does not say."""
    if not region:
        return 0
    name = model.lower()
    if provider != "openai" or _RELEASED_SINCE.match(name):
        return PERCENT_MORE if provider == "openai" else None
    return 0 if _RELEASED_BEFORE.match(name) else None


def raised(price: int, percent: int) -> int:
    """A price with that much more; a fraction of a nano-USD is rounded up."""
    return -(-price * (100 + percent) // 100)
