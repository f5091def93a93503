"""What one JSON body or event of Anthropic's says: tokens, model, tier, errors, and what is billed beside the tokens.

``input_tokens`` leaves out what was read from a cache or written to one; ``output_tokens`` counts thoughts. In a
stream the beginning tells the input, and each ``message_delta`` what has been used by then: the later value of each
field holds. What contradicts itself is unknown, and never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lib.llm.answers import AnswerUsage, Failure, shown
from lib.pricing.prices import Tokens
from lib.pricing.tool_calls import ToolCalls

_MOST = 1_000_000_000
_STANDARD = ("standard",)
_ANYWHERE = (None, "", "global", "not_available")
"""Where inference took place, if that does not change the price."""

_KNOWN = """
    input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens cache_creation
    output_tokens_details server_tool_use service_tier speed inference_geo
"""
_KNOWN_FIELDS = frozenset(_KNOWN.split())
_FREE_CALLS = frozenset({"web_search_requests", "web_fetch_requests"})
_LIFETIMES = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_BLOCKS = """
    text thinking redacted_thinking tool_use server_tool_use web_search_tool_result web_fetch_tool_result
    tool_search_tool_result
"""
_BILLED_BY_USAGE = frozenset(_BLOCKS.split())
_HOSTED = frozenset({"web_search", "web_fetch", "tool_search_tool_bm25", "tool_search_tool_regex"})
_DELTAS = ("text", "thinking", "partial_json")


@dataclass(slots=True)
class ParsedUsage(AnswerUsage):
    """What is known about an answer of Anthropic's so far."""

    told: dict[str, Any] = field(default_factory=dict)
    """The latest value of each field of the usage."""

    searched: bool = False
    """True once the model has searched the web, which is billed by the call."""

    def update_from(self, content: dict[str, Any], *, is_all: bool) -> None:
        """Note all that one JSON body or event tells, ``is_all`` where it is the whole answer."""
        self.spoken = self.spoken or bool(content)
        if self.profile is None:
            return
        self.failure = error_in(content) or self.failure
        message = content if is_all else _dict(content.get("message"))
        self.note_model(shown(message.get("model")))
        for block in (*_list(message.get("content")), content.get("content_block"), content.get("delta")):
            self._note_block(_dict(block))
        ends = _dict(content.get("delta"))
        if message.get("container") is not None or ends.get("container") is not None:
            self.priceable = False  # billed by the hour
        self._note_usage(content.get("usage") or message.get("usage"))

    @staticmethod
    def tells_error(content: dict[str, Any]) -> bool:
        """Whether a body or event tells an error."""
        return error_in(content) is not None

    def _note_block(self, block: dict[str, Any]) -> None:
        kind = str(block.get("type"))
        if "type" in block and not kind.endswith("_delta"):
            hosted = kind != "server_tool_use" or block.get("name") in _HOSTED
            self.priceable = self.priceable and kind in _BILLED_BY_USAGE and hosted
            self.searched = self.searched or block.get("name") == "web_search"
        if any(block.get(name) for name in (*_DELTAS, "input", "data")):
            self.note_writing()

    def _note_usage(self, usage: Any) -> None:
        if not usage:
            return
        if not isinstance(usage, dict):
            self.note_tokens(None)
            return
        self.told |= {name: value for name, value in usage.items() if value is not None}
        self._note_terms()
        self._note_tools(self.told.get("server_tool_use"))
        self.note_tokens(read_tokens(self.told))
        others = [value for name, value in self.told.items() if name not in _KNOWN_FIELDS]
        self.priceable = self.priceable and not _counts_something(others)

    def tells_all(self) -> bool:
        """Whether each token written to a cache has its lifetime, and the searches of the web are counted."""
        return _tells_lifetimes(self.told) and (bool(self.tool_calls) or not self.searched)

    def _note_terms(self) -> None:
        """The tier, be it told as a tier or as a speed; both at once have no price."""
        told = [self.told.get(name) for name in ("service_tier", "speed")]
        odd = [shown(word) for word in told if word is not None and word not in _STANDARD]
        self.names_tier = self.told.get("speed") is not None
        self.service_tier = odd[0] if odd else None
        self.priceable = self.priceable and len(odd) < len(told) and None not in odd
        self.priceable = self.priceable and self.told.get("inference_geo") in _ANYWHERE

    def _note_tools(self, calls: Any) -> None:
        if calls is None:
            return
        counts = calls if isinstance(calls, dict) else {"": calls}
        searches = counts.get("web_search_requests")
        self.tool_calls = ToolCalls(web_searches=int(searches or 0) if _is_count(searches) else 0)
        others = {name: value for name, value in counts.items() if name not in _FREE_CALLS}
        usable = (searches is None or _is_count(searches)) and not _counts_something(others)
        self.priceable = self.priceable and usable


def read_tokens(usage: dict[str, Any]) -> Tokens | None:
    """Tokens of a ``usage`` object; None where it says what cannot be."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    details, split = usage.get("output_tokens_details"), usage.get("cache_creation")
    if not isinstance(details, dict | None) or not isinstance(split, dict | None):
        return None
    thought, longer = (details or {}).get("thinking_tokens"), (split or {}).get(_LIFETIMES[1])
    counts = [usage.get(name) for name in names] + [thought, longer]
    if not all(value is None or _is_count(value) for value in counts) or counts[0] is None:
        return None
    plain, read, written, output, thinking, long = (int(value or 0) for value in counts)
    try:
        return Tokens(plain + read + written, read, output, thinking, written - long, long)
    except ValueError:
        return None


def error_in(content: dict[str, Any]) -> Failure | None:
    """The error that it tells, if any."""
    error = content.get("error")
    if not error and content.get("type") != "error":
        return None
    told = _dict(error)
    code = _dict(told.get("details")).get("error_code")
    message = told.get("message") if told else error
    return Failure(shown(code), shown(told.get("type")), shown(message))


def _tells_lifetimes(usage: dict[str, Any]) -> bool:
    """Whether every token that was written to a cache has its lifetime, and with it its price."""
    split = _dict(usage.get("cache_creation"))
    written = [split.get(name) or 0 for name in _LIFETIMES]
    others = {name: value for name, value in split.items() if name not in _LIFETIMES}
    whole = usage.get("cache_creation_input_tokens") or 0
    return all(map(_is_count, written)) and sum(written) == whole and not _counts_something(others)


def _counts_something(told: object) -> bool:
    """Whether there is any number but zero in it, at any depth."""
    if isinstance(told, dict):
        return any(_counts_something(value) for value in told.values())
    if isinstance(told, list):
        return any(_counts_something(value) for value in told)
    return isinstance(told, int | float) and bool(told)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
