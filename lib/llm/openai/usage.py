"""What one JSON body or event of an answer says: tokens, model, tier, errors, and what is billed beside the tokens.

What a provider says may be wrong, broken or hostile: what cannot be read or contradicts itself is unknown, and
never an exception. A usage is the last word only once everything has been said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import AnswerUsage, Failure, shown
from lib.llm.openai.tool_usage import counts_something, read_tool_calls
from lib.pricing.prices import Tokens
from lib.pricing.tool_calls import NO_TOOL_CALLS

_MOST_TOKENS = 1_000_000_000
_STANDARD_TIERS = ("auto", "default")
_WRITTEN = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "text",
    "tool_calls",
    "function_call",
    "audio",
)
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
# Parts of the input and of the output that cost what the whole costs, or that are priced by themselves.
_KNOWN = """
    cached_tokens cache_write_tokens cache_write_tokens_details text_tokens image_tokens reasoning_tokens
    accepted_prediction_tokens rejected_prediction_tokens
"""
_KNOWN_PARTS = frozenset(_KNOWN.split())


@dataclass(slots=True)
class ParsedUsage(AnswerUsage):
    """What is known about an answer of OpenAI's so far."""

    def update_from(self, content: dict[str, Any], *, is_all: bool) -> None:
        """Note all that one JSON body or event tells, ``is_all`` where it is or repeats the whole answer."""
        self.spoken = self.spoken or bool(content)
        if self.profile is None:
            return
        body = _body_of(content)
        self.failure = error_in(content) or self.failure
        self.note_model(shown(body.get("model")))
        self._note_tier(body.get("service_tier"))
        self._note_output(body)
        if is_all:
            self._note_tools(body, self.profile)
        self._note_usage(body.get("usage"), self.profile.endpoint)

    @staticmethod
    def tells_error(content: dict[str, Any]) -> bool:
        """Whether a body or event tells an error."""
        return error_in(content) is not None

    def _note_tier(self, tier: object) -> None:
        """The end of an answer may name another tier than its beginning: that one served it."""
        if tier is not None:
            name, self.names_tier = shown(tier), True
            self.priceable = self.priceable and name is not None
            self.service_tier = None if name in _STANDARD_TIERS else name

    def _note_output(self, body: dict[str, Any]) -> None:
        choices, output = body.get("choices"), body.get("output")
        said = [_said(choice) for choice in choices] if isinstance(choices, list) else []
        self.priceable = self.priceable and not any(
            one.get("annotations") or one.get("audio") for one in said
        )
        if any(one.get(name) for one in said for name in _WRITTEN) or (isinstance(output, list) and output):
            self.note_writing()

    def _note_tools(self, body: dict[str, Any], profile: RequestProfile) -> None:
        calls = read_tool_calls(body, profile.hosted_tools, self.model or profile.model)
        self.priceable = self.priceable and calls is not None
        self.tool_calls = calls or NO_TOOL_CALLS

    def _note_usage(self, usage: Any, endpoint: str) -> None:
        if not usage:
            return
        told = read_usage(usage, endpoint) if isinstance(usage, dict) else None
        self.note_tokens(told)
        if told is not None and (told.input or told.output):
            self.priceable = self.priceable and not _has_parts_billed_apart(usage)


def has_usage(content: dict[str, Any]) -> bool:
    """Whether an event of a chat stream tells a usage."""
    return bool(content.get("usage"))


def finished(choices: object) -> set[int]:
    """The numbers of the choices that end here."""
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    ended = [choice.get("index") for choice in found if choice.get("finish_reason")]
    return {index if isinstance(index, int) else 0 for index in ended}


def read_usage(usage: dict[str, Any], endpoint: str) -> Tokens | None:
    """Tokens of a ``usage`` object in any of OpenAI's shapes; None where it says what cannot be."""
    read = _counts(usage, "prompt_tokens", "input_tokens")
    written = _counts(usage, "completion_tokens", "output_tokens")
    if endpoint == "embeddings" and not written:
        written = {0}
    details = _details(usage, *_INPUT_DETAILS)
    outcome = _details(usage, *_OUTPUT_DETAILS)
    if len(read) != 1 or len(written) != 1 or details is None or outcome is None:
        return None
    parts = [details.get("cached_tokens"), details.get("cache_write_tokens"), outcome.get("reasoning_tokens")]
    counts = [read.pop(), written.pop(), *parts, usage.get("total_tokens")]
    if not all(_is_count(count) for count in counts):
        return None
    whole, output, cached, cache_write, reasoning, total = (int(count or 0) for count in counts)
    if total > whole + output:  # something is counted apart: thinking, on servers that only look like OpenAI
        return None
    try:
        return Tokens(whole, cached, output, reasoning, cache_write)
    except ValueError:
        return None


def _counts(usage: dict[str, Any], *names: str) -> set[Any]:
    """What the one quantity is said to be; a list or an object is no number, but something that was said."""
    told = [usage[name] for name in names if usage.get(name) is not None]
    return {
        value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
        for value in told
    }


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any] | None:
    """The parts that are told, under whichever of these names; None where two of them contradict each other."""
    found: dict[str, Any] = {}
    for told in (usage[name] for name in names if usage.get(name) is not None):
        if not isinstance(told, dict):
            return None
        for name, value in told.items():
            if value is not None and found.setdefault(name, value) != value:
                return None
    return found


def _is_count(value: object) -> bool:
    """None is a part that the answer does not mention."""
    if isinstance(value, bool) or not isinstance(value, int | None):
        return False
    return value is None or 0 <= value <= _MOST_TOKENS


def _has_parts_billed_apart(usage: dict[str, Any]) -> bool:
    """Whether there are parts that the plain prices of text tokens do not cover: audio, made images, long caches."""
    read = _details(usage, *_INPUT_DETAILS) or {}
    written = _details(usage, *_OUTPUT_DETAILS) or {}
    others = [value for part in (read, written) for name, value in part.items() if name not in _KNOWN_PARTS]
    lifetimes = _details(read, "cache_write_tokens_details") or {}
    long = [told for name, told in lifetimes.items() if name != "ttl_30m_tokens"]
    return counts_something(others) or counts_something(written.get("image_tokens")) or counts_something(long)


def _said(choice: object) -> dict[str, Any]:
    """What a choice of a chat says; of a plain completion, its text."""
    if not isinstance(choice, dict):
        return {}
    said = choice.get("message") or choice.get("delta")
    return said if isinstance(said, dict) else {"text": choice.get("text")}


def _body_of(content: dict[str, Any]) -> dict[str, Any]:
    """What an event tells of: a whole response, or itself."""
    nested = content.get("response")
    return nested if isinstance(nested, dict) else content


def error_in(content: dict[str, Any]) -> Failure | None:
    """The error that it tells, if any."""
    parts = [content, _body_of(content)]
    told = [part for part in parts if part.get("error")] or parts[:1] * (content.get("type") == "error")
    return _failure(told[0]) if told else None


def _failure(body: dict[str, Any]) -> Failure:
    error = body.get("error")
    if isinstance(error, str):
        return Failure(None, None, shown(error))
    told = error if isinstance(error, dict) else body
    return Failure(shown(told.get("code")), shown(told.get("type")), shown(told.get("message")))
