"""What changes a call's price beside its model, its tokens and its time."""

from __future__ import annotations

from dataclasses import dataclass

from lib.pricing.tool_calls import NO_TOOL_CALLS, ToolCalls

_STANDARD_TIERS = ("", "auto", "default")


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of one call."""

    tier: str = ""
    """The service tier in the provider's word; empty for the standard one."""
    region: str = ""
    """The host's region (see lib.pricing.regions); empty for a global host."""
    tools: ToolCalls = NO_TOOL_CALLS
    """What hosted tools were called, as far as the answer tells it."""
    served_model: str = ""
    """The model that the answer names; empty where it names none."""
    text_only: bool = False
    """True where it is known that no token is of sound or pictures which the model bills apart."""


STANDARD = Terms()


def special_tier(word: str | None) -> str:
    """A tier's word, empty for the standard tier however it is called."""
    return "" if word is None or word in _STANDARD_TIERS else word
