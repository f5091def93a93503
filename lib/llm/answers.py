"""Reading an answer while it passes through: tokens, model, and whether it was whole.

A reader is fed what the provider sends and returns what the caller gets: the very bytes, except for the one
usage event of a chat stream that we asked for and the caller did not. What a provider says may be wrong,
broken or hostile: an answer that cannot be read has unknown tokens, and never an exception.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from lib.llm.requests import CHAT, RESPONSES
from lib.usage.calls import Ask
from lib.usage.prices import Tokens

_LONGEST_BODY = 64 * 1024 * 1024
_LONGEST_TEXT = 500
_MOST_TOKENS = 1_000_000_000
_REPORT_USAGE = re.compile(rf"{CHAT}|{RESPONSES}(/compact)?|embeddings|completions|(images|audio)/\w+")
_PLAIN_OUTPUT = ("message", "reasoning", "function_call", "custom_tool_call")
_STANDARD_TIERS = (None, "auto", "default")
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")

# Two line ends in a row; "\r\n" is one line end, and the last "\r" may get its "\n" later: an empty line.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Most events hold a few letters of text and are not worth parsing. Inside JSON text quotes are escaped, so
# that a model cannot write these by saying them.
_TELLING = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:\s*[{"]|"service_tier"\s*:\s*"(?!default"|auto")'
    rb'|"annotations"\s*:\s*\[\s*\{|"audio"\s*:\s*\{'
    rb'|"type"\s*:\s*"(?:error|response\.(?:completed|incomplete|failed))"'
)
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


@dataclass(frozen=True, slots=True)
class Failure:
    """An error told inside an answer that began well. The provider's own words: not scrubbed yet."""

    code: str | None
    type: str | None
    message: str | None


@dataclass(slots=True)
class Reading:
    """What is known about an answer so far."""

    tokens: Tokens | None = None
    model: str | None = None
    priceable: bool = True
    failure: Failure | None = None
    final: bool = False
    """True once nothing can follow that changes the tokens: the caller may leave."""
    whole: bool = False
    """True once the answer may end here without being cut off."""
    spoken: bool = False
    """True once it was a provider that spoke: JSON, not the web page of somebody in between."""


class Reader(Protocol):
    """Fed with what arrives; returns what to pass on."""

    reading: Reading

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def reader_for(method: str, ask: Ask, content_type: str | None, *, drop_usage: bool) -> Reader:
    """Choose the reader for an answer.

    Args:
        method: the request's; what is merely looked up again was billed when it was made.
        ask: what the request asked for.
        content_type: of the answer.
        drop_usage: the usage event was asked for by us, not by the caller.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if method != "POST" or not _REPORT_USAGE.fullmatch(ask.endpoint):
        return _Unread(spoken=kind == "application/json")
    if kind == "text/event-stream" or (ask.streaming and kind != "application/json"):
        return EventReader(ask.endpoint, ask.choices, drop_usage=drop_usage)
    return JsonReader(ask.endpoint)


class _Unread:
    """For what reports no usage."""

    def __init__(self, *, spoken: bool) -> None:
        self.reading = Reading(whole=True, spoken=spoken)

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        self.reading.final = True
        return b""


class JsonReader:
    """Reads a whole JSON body at its end."""

    def __init__(self, endpoint: str) -> None:
        self.reading = Reading(whole=True)
        self._endpoint = endpoint
        self._body = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        if len(self._body) <= _LONGEST_BODY:
            self._body += chunk
        return chunk

    def finish(self) -> bytes:
        if len(self._body) <= _LONGEST_BODY:
            _take(self.reading, self._endpoint, _parse(bytes(self._body)))
        self._body.clear()
        self.reading.final = True
        return b""


class EventReader:
    """Splits server-sent events wherever the network cut them, and reads those that tell something."""

    def __init__(self, endpoint: str, choices: int, *, drop_usage: bool) -> None:
        self.reading = Reading(whole=endpoint not in {CHAT, RESPONSES})
        self._endpoint = endpoint
        self._choices = choices
        self._finished: set[int] = set()
        self._drops = drop_usage
        self._held = bytearray()
        self._blind = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blind:
            return chunk
        seen = max(0, len(self._held) - 3)  # a line end may be cut in two
        self._held += chunk
        passed = bytearray()
        while found := _EVENT_END.search(self._held, seen):
            event = bytes(self._held[: found.end()])
            del self._held[: found.end()]
            seen = 0
            if not self._is_ours(event):
                passed += event
        if len(self._held) > _LONGEST_BODY:
            passed += self._held
            self._held.clear()
            self._blind = True
        return bytes(passed) if self._drops else chunk

    def finish(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        passes = rest and not self._is_ours(rest) and self._drops
        return rest if passes else b""

    def _is_ours(self, event: bytes) -> bool:
        """Read one event; True for the usage event that only we asked for."""
        reading = self.reading
        telling = _TELLING.search(event) or _FINISHED.search(event)
        if not telling and reading.model is not None and b"[DONE]" not in event:
            return False
        data = _data(event)
        if data.strip() == b"[DONE]":
            reading.final = reading.whole = True
            return False
        content = _parse(data)
        _take(reading, self._endpoint, content)
        self._note_end(content)
        return self._drops and _is_usage_only(content)

    def _note_end(self, content: dict[str, Any]) -> None:
        """Some servers count along and tell a usage with every piece: it is the last only once all is said."""
        reading = self.reading
        if content.get("type") in _LAST_EVENTS or _is_usage_only(content):
            reading.final = reading.whole = True
            return
        if choices := content.get("choices"):
            self._finished |= _finished(choices)
            if len(self._finished) < self._choices:
                return
            reading.whole = True
        if reading.whole and isinstance(content.get("usage"), dict):
            reading.final = True


def _data(event: bytes) -> bytes:
    lines = _LINE_END.split(event.removeprefix(b"\xef\xbb\xbf"))
    values = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(values)


def _parse(data: bytes) -> dict[str, Any]:
    """The object in ``data``; an empty one where there is none."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_usage_only(content: dict[str, Any]) -> bool:
    return content.get("choices") == [] and bool(content.get("usage"))


def _finished(choices: object) -> set[int]:
    """The numbers of the choices that end here."""
    found = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    ended = [choice.get("index") for choice in found if choice.get("finish_reason")]
    return {index if isinstance(index, int) else 0 for index in ended}


def _take(reading: Reading, endpoint: str, content: dict[str, Any]) -> None:
    """Note all that one JSON body or event tells."""
    reading.spoken = reading.spoken or bool(content)
    nested = content.get("response")
    body = nested if isinstance(nested, dict) else content
    reading.model = reading.model or shown(body.get("model"))
    reading.priceable = reading.priceable and _is_plain(body)
    if content.get("type") == "error" or body.get("error"):
        reading.failure = _failure(body)
    usage = body.get("usage")
    if isinstance(usage, dict):
        reading.tokens = read_usage(usage, endpoint)
        reading.priceable = reading.priceable and _is_plain_usage(usage)


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
    if body.get("service_tier") not in _STANDARD_TIERS:
        return False
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
