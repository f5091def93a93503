"""Data-residency hosts (https://developers.openai.com/api/docs/guides/data-residency.md)."""

from __future__ import annotations

import re

_REGIONAL = re.compile(r"(?P<region>[a-z0-9.-]+)\.api\.openai\.com", re.ASCII)


def region_of(host: str) -> str:
    """The region of one of OpenAI's hosts, such as ``eu``; empty for any other host."""
    found = _REGIONAL.fullmatch(host.lower().rstrip("."))
    return found["region"] if found else ""
