"""What the price table does not say of its own models, and where that is known from; by provider, where it hangs on it.

All of it makes a price more careful: unknown, where the table would state one in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

BEYOND_TEXT = re.compile(r"audio|realtime|transcribe|tts|whisper|image|^gpt-live")
"""Models that bill sound or pictures, also where the table lists their text alone."""

MEDIA_TOLD = {
    "google": frozenset(
        {"input_audio_mtok", "cache_audio_read_mtok", "input_image_mtok", "input_video_mtok"},
    ),
}
"""Prices of input that the answers of a provider count apart, so that what is text alone can be priced as text."""

SEARCHES_BY_ITSELF = re.compile(r"-search-(preview|api)|deep-research")
"""Models that search without being given a tool; each search has a fee."""

SEARCH_FEE_VARIES = re.compile(r"gpt-4")
"""Of these a search costs $10 or $25 a thousand, by the tool's version, and some pay fixed tokens for it
(https://www.modelcostwatch.com/openai/tool-costs/web-search)."""

NO_LONG_RATE = {
    re.compile(r"^gpt-5\.[5-9]-cyber|^gpt-[6-9][\d.]*-cyber"): 272_000,
    re.compile(r"claude-(sonnet-4|4-sonnet)(-0|-2025\d{4})?$|claude-sonnet-4@"): 200_000,
}
"""Models that cost more in long calls, as their kin do, and for which the table has one rate; and the input tokens
above which that is so. Claude Sonnet 4 reads more than it was made for where a beta header asks for it."""

MOVES = re.compile(r"[a-z-]*latest")
"""Names that are another model, at another price, whenever their provider likes: ``gemini-flash-latest``, ``gpt-chat-latest``.
The table has the price of whichever it was on its own day. A name with a version in it keeps its price."""

MADE = {"0.2.3": date(2026, 11, 9)}
"""When a version of the table was made, at the earliest: the newest change of a price that is in it. A newer
version of genai-prices needs its line here."""

_OPENAI_SINCE = {
    date(2025, 6, 22): """
        ada babbage chatgpt-4o-latest codex-mini curie davinci ft:gpt-3.5-turbo- gpt-3.5-turbo-16k gpt-4
        gpt-4-32k gpt-4-turbo gpt-4-vision-preview gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4.5-preview
        gpt-4o-mini-2024-07-18.ft- gpt-4o:extended o1-pro o3-pro text-davinci-002 text-davinci-003
        text-embedding-3-large text-embedding-3-small text-embedding-ada-002
    """,
    date(2025, 7, 4): "gpt-3.5-turbo gpt-3.5-turbo-instruct gpt-4o gpt-4o-mini o1 o1-mini o3-mini o4-mini",
    date(2025, 8, 8): "gpt-5 gpt-5-mini gpt-5-nano",
    date(2025, 11, 7): """
        ft:gpt-4o ft:gpt-4o-mini gpt-3.5-0301 gpt-3.5-turbo-0613 gpt-3.5-turbo-1106 gpt-5-pro
        o3-deep-research o4-mini-deep-research
    """,
    date(2025, 11, 13): "gpt-5.1",
    date(2025, 11, 18): "computer-use gpt-5.1-codex-mini",
    date(2025, 12, 11): "gpt-5.2 gpt-5.2-pro",
    date(2026, 3, 2): "gpt-5.3-codex",
    date(2026, 3, 6): "gpt-5.4 gpt-5.4-pro",
    date(2026, 3, 18): "gpt-5.4-mini gpt-5.4-nano",
    date(2026, 5, 7): "gpt-5.3",
    date(2026, 6, 15): "gpt-oss-120b gpt-oss-20b gpt-oss-safeguard-20b",
}
_ANTHROPIC_SINCE = {
    date(2025, 6, 22): """
        claude-2 claude-3-5-haiku-latest claude-3-5-sonnet claude-3-7-sonnet-latest claude-3-opus-latest
        claude-3-sonnet claude-opus-4-0 claude-sonnet-4-0
    """,
    date(2025, 8, 8): "claude-3-haiku claude-opus-4-1",
    date(2025, 9, 29): "claude-sonnet-4-5",
    date(2025, 10, 16): "claude-haiku-4-5",
    date(2025, 11, 7): "claude-v1",
    date(2025, 11, 24): "claude-opus-4-5",
    date(2026, 4, 16): "claude-opus-4-7",
    date(2026, 5, 28): "claude-opus-4-8",
    date(2026, 6, 9): "claude-fable-5",
    date(2026, 7, 24): "claude-opus-5",
}
_GOOGLE_SINCE = {
    date(2025, 6, 22): "gemini-1.0-pro-vision-001 gemini-pro",
    date(2025, 7, 5): "gemini-flash-1.5 gemini-flash-1.5-8b gemini-pro-1.5",
    date(2025, 11, 7): "gemini-2.5-flash gemini-2.5-flash-lite gemini-2.5-pro gemini-embedding-001",
    date(2025, 11, 18): "gemini-3-pro-preview",
    date(2025, 12, 31): "gemini-3-flash-preview",
    date(2026, 2, 25): "gemini-3.1-pro-preview",
    date(2026, 5, 13): "gemini-3.1-flash-lite",
    date(2026, 5, 19): "gemini-3.5-flash",
    date(2026, 7, 22): "gemini-3.5-flash-lite",
}
_SINCE = {"openai": _OPENAI_SINCE, "anthropic": _ANTHROPIC_SINCE, "google": _GOOGLE_SINCE}
SAME_SINCE = {
    provider: {model: since for since, models in told.items() for model in models.split()}
    for provider, told in _SINCE.items()
}
"""Since when the table states what it states now, by provider and by its name of a model.

Read from the history of the table's own repository (github.com/pydantic/genai-prices, prices/data.json), from
the commit on which every one up to July 2026 (Anthropic's: August) has the same prices of text tokens. The table itself has one price
for all time where it never noted a change, so it cannot tell what a model cost before it was added.
"""


@dataclass(frozen=True)
class Surcharge:
    """What a provider takes more at its regional hosts. A model that is on neither list is unknown there."""

    percent: int
    applies_to: re.Pattern[str]
    applies_not_to: re.Pattern[str]


SURCHARGES = {
    # For models released on or after 2026-03-05 (https://developers.openai.com/api/docs/guides/data-residency.md).
    # The table states no release dates, so the families stand here by name.
    "openai": Surcharge(
        percent=10,
        applies_to=re.compile(r"(ft:)?gpt-(5[.-][4-9]|[6-9]|[1-9]\d)(?!\d)", re.ASCII),
        applies_not_to=re.compile(
            r"(ft:)?(gpt-(35|3\.5|4|4o|4\.1|4\.5|5|5[.-][0-3])|chatgpt-4o|o[134]|text-embedding|davinci|babbage|codex-mini"
            r"|computer-use)(?![\w.])",
            re.ASCII,
        ),
    ),
}
"""By provider; one that is not here has no regional hosts, as far as is known."""
