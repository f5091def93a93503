"""What one JSON body or event of an answer says: tokens, model, errors, and what is billed beside the tokens.

What a provider says may be wrong, broken or hostile: what cannot be read is unknown, and never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.pricing.prices import Tokens
from lib.pricing.tool_calls import NO_TOOL_CALLS, ToolCalls

_LONGEST_TEXT = 500
_MOST_TOKENS = 1_000_000_000
_PLAIN_OUTPUT = ("message", "reasoning", "function_call", "custom_tool_call")
_STANDARD_TIERS = ("auto", "default")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error told inside an answer that began well, without the key."""

    code: str | None
    type: str | None
    message: str | None


@dataclass(slots=True)
class ParsedUsage:
    """What is known about an answer so far."""

    tokens: Tokens | None = None
    model: str | None = None
    service_tier: str | None = None
    """None for the standard tier, or where none is named."""
    tool_calls: ToolCalls = NO_TOOL_CALLS
    priceable: bool = True
    failure: Failure | None = None
    final: bool = False
    """True once nothing can follow that changes the tokens: the caller may leave."""
    whole: bool = False
    """True once the answer may end here without being cut off."""
    spoken: bool = False
    """True once it was a provider that spoke: JSON, not the web page of somebody in between."""


def take(reading: ParsedUsage, endpoint: str | None, content: dict[str, Any]) -> None:
    """Note all that one JSON body or event tells."""
    reading.spoken = reading.spoken or bool(content)
    if endpoint is None:
        return
    body = _told_of(content)
    reading.model = reading.model or shown(body.get("model"))
    reading.priceable = reading.priceable and _is_plain(body)
    _note_tier(reading, body.get("service_tier"))
    reading.failure = error_in(content) or reading.failure
    usage = body.get("usage")
    if isinstance(usage, dict):
        reading.tokens = read_usage(usage, endpoint)
        reading.priceable = reading.priceable and _is_plain_usage(usage)


def _note_tier(reading: ParsedUsage, tier: object) -> None:
    """A later event may name another tier than an earlier one: the last that is named served the call."""
    if tier is None:
        return
    name = shown(tier)
    reading.priceable = reading.priceable and name is not None
    reading.service_tier = None if name in _STANDARD_TIERS else name


def is_usage_only(content: dict[str, Any]) -> bool:
    """Whether it is the last event of a chat stream whose usage was asked for."""
    return content.get("choices") == [] and bool(content.get("usage"))


def finished(choices: object) -> set[int]:
    """The numbers of the choices that end here."""
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    ended = [choice.get("index") for choice in found if choice.get("finish_reason")]
    return {index if isinstance(index, int) else 0 for index in ended}


def read_usage(usage: dict[str, Any], endpoint: str) -> Tokens | None:
    """Tokens of a ``usage`` object in any of OpenAI's shapes; None where it says what cannot be."""
    asked = _first(usage, "prompt_tokens", "input_tokens")
    written = _first(usage, "completion_tokens", "output_tokens")
    if written is None and endpoint == "embeddings":
        written = 0
    details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    outcome = _details(usage, "completion_tokens_details", "output_tokens_details")
    counts = [asked, written, details.get("cached_tokens"), details.get("cache_write_tokens")]
    counts.append(outcome.get("reasoning_tokens"))
    if asked is None or written is None or not all(_is_count(count) for count in counts):
        return None
    whole, output, cached, cache_write, reasoning = (int(count or 0) for count in counts)
    try:
        return Tokens(whole, cached, output, reasoning, cache_write)
    except ValueError:
        return None


def _first(usage: dict[str, Any], *names: str) -> Any:
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    found = _first(usage, *names)
    return found if isinstance(found, dict) else {}


def _is_count(value: object) -> bool:
    """None is a part that the answer does not mention."""
    if isinstance(value, bool) or not isinstance(value, int | None):
        return False
    return value is None or 0 <= value <= _MOST_TOKENS


def _is_plain_usage(usage: dict[str, Any]) -> bool:
    """Whether the plain prices of text tokens apply to all of it."""
    asked = _details(usage, "prompt_tokens_details", "input_tokens_details")
    written = _details(usage, "completion_tokens_details", "output_tokens_details")
    long_cache = _details(asked, "cache_write_tokens_details").get("ttl_12h_tokens")
    apart = (asked.get("audio_tokens"), written.get("audio_tokens"), written.get("image_tokens"), long_cache)
    return not any(apart)


def _is_plain(body: dict[str, Any]) -> bool:
    """Whether nothing in it is billed beside its tokens: hosted tools, searches, audio, another tier."""
    output = body.get("output")
    if isinstance(output, list) and not all(_is_plain_item(item) for item in output):
        return False
    choices = body.get("choices")
    return not isinstance(choices, list) or all(_is_plain_choice(choice) for choice in choices)


def _is_plain_item(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") in _PLAIN_OUTPUT


def _is_plain_choice(choice: object) -> bool:
    said = (choice.get("message") or choice.get("delta")) if isinstance(choice, dict) else None
    return not isinstance(said, dict) or not (said.get("annotations") or said.get("audio"))


def _told_of(content: dict[str, Any]) -> dict[str, Any]:
    """What an event tells of: a whole response, or itself."""
    nested = content.get("response")
    return nested if isinstance(nested, dict) else content


def error_in(content: dict[str, Any]) -> Failure | None:
    """The error that it tells, if any."""
    parts = [content, _told_of(content)]
    told = [part for part in parts if part.get("error")] or parts[:1] * (content.get("type") == "error")
    return _failure(told[0]) if told else None


def _failure(body: dict[str, Any]) -> Failure:
    error = body.get("error")
    if isinstance(error, str):
        return Failure(None, None, shown(error))
    told = error if isinstance(error, dict) else body
    return Failure(shown(told.get("code")), shown(told.get("type")), shown(told.get("message")))


def shown(value: object) -> str | None:
    """Foreign text that can be stored and shown: cut to length, without control characters; None for else."""
    if not isinstance(value, str):
        return None
    kept = "".join(letter if letter.isprintable() else " " for letter in value[:_LONGEST_TEXT])
    return kept.strip() or None
