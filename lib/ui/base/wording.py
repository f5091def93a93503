"""How numbers, money, times and states are written. Pure; the same words on every page.

Money comes as integer nano-USD, times as microseconds since 1970 UTC. Unknown is None and is never
shown as zero. Texts that did not start with us go through ``escape``: Markdown in any label, title or
error would load images from outside.
"""

from __future__ import annotations

import re

DOTS = "••••"

# --- keys, states, sources -------------------------------------------------------------------------


NOBODY = "nobody known"
"""Who started a run that has no starter, or a call without a run."""


def key_name(last4: str | None) -> str:
    """``•••• x4Tz``: all that is ever shown of a key. For Markdown, ``escape`` it or use ``key_code``."""
    return f"{DOTS} {last4}" if last4 else DOTS


def key_code(last4: str | None) -> str:
    """The last four of a key in code style, for key tables."""
    return code(key_name(last4))


RUN_STATUS = {
    "running": ("Running", "gray"),
    "waiting": ("Waiting", "orange"),
    "passed": ("Passed", "green"),
    "failed": ("Failed", "red"),
    "error": ("Error", "red"),
    "budget_exceeded": ("Budget exceeded", "orange"),
    "refused": ("Refused: cap", "orange"),
    "lost": ("Worker lost", "red"),
}
"""Run status -> word and colour name; a status never stands without its word."""

KEY_STATUS = {
    "working": ("Active", "green", "check_circle"),
    "unproven": ("Untested", "gray", "hourglass_empty"),
    "warning": ("Active, with a warning", "orange", "warning"),
    "blocked": ("Cannot be used now", "orange", "block"),
    "failing": ("Failing", "red", "error"),
    "locked": ("Locked", "red", "lock"),
}
"""Health of a key -> word, colour name, icon."""

KIND = {"chat": "Chat", "scheduled": "Scheduled", "pr_review": "PR review", "scan": "Scan"}
SOURCE = {"platform": "Platform-funded", "byok": "BYOK"}
SOURCE_COLOR = {"platform": "violet", "byok": "blue", "both": "gray"}
FAILURE = {"rejected": "rejected", "out_of_money": "out of money"}


def run_status(status: str, *, stopped_by: str | None = None, failed_calls: int = 0) -> tuple[str, str]:
    """Word and colour of a run's status; what stopped it, or whose error it was, is in the word."""
    word, color = RUN_STATUS.get(status, (status, "gray"))
    if status == "budget_exceeded" and stopped_by == "cap":
        return "Stopped: cap", color
    if status == "error" and failed_calls:
        return "Provider error", color
    return word, color


def payer(source: str | None, last4: str | None) -> str:
    """Who paid, for badges in tables: ``Platform``, ``BYOK •••• x4Tz``; empty where nobody had to."""
    if source == "byok":
        return f"BYOK {key_name(last4)}"
    return {"platform": "Platform", "both": "Platform and BYOK"}.get(source or "", "")


# --- Markdown --------------------------------------------------------------------------------------

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)
_SHORTCODE = re.compile(r":(?=[\w+/-]+:)")
_JOINER = "\N{WORD JOINER}"


def escape(text: str) -> str:
    """Foreign text, to stand in Markdown as itself: no image, link, emphasis, colour, formula or emoji.

    Addresses lose their scheme: Streamlit would turn even an escaped one into a link.
    """
    plain = " ".join(_SCHEME.sub("", text).split())
    plain = _SHORTCODE.sub(":" + _JOINER, _WWW.sub(rf"\1{_JOINER}.", plain))
    return _PUNCTUATION.sub(r"\\\1", plain)


def code(text: str) -> str:
    """Foreign text in code style; a fence longer than any run of backticks in it keeps it inside."""
    plain = " ".join(text.split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def badge(text: str, color: str, icon: str | None = None) -> str:
    """A badge inside Markdown; ``color`` always says what it means (see LOOK: violet, blue, green …)."""
    symbol = f":material/{icon}: " if icon else ""
    return f":{color}-badge[{symbol}{escape(text)}]"


def quote(text: str) -> str:
    """A provider's own words, in quotation marks."""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{escape(text)}\N{RIGHT DOUBLE QUOTATION MARK}"
