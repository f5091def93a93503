"""Reading an answer while it passes through: tokens, model, and whether it was whole.

A reader is fed what the provider sends and returns what the caller gets, event by event or a body at its end:
the very bytes, except for the key, and for the one usage event of a chat stream that we asked for and the
caller did not. What a provider says may be wrong, broken or hostile: an answer that cannot be read has unknown
tokens, and never an exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lib.llm.cleaning import Cleaner, in_utf8
from lib.llm.requests import CHAT, RESPONSES
from lib.usage.calls import Ask
from lib.usage.prices import Tokens

_LONGEST_BODY = 64 * 1024 * 1024
_LONGEST_TEXT = 500
_MOST_TOKENS = 1_000_000_000
_REPORT_USAGE = re.compile(rf"{CHAT}|{RESPONSES}(/compact)?|embeddings|completions|(images|audio)/\w+")
_PLAIN_OUTPUT = ("message", "reasoning", "function_call", "custom_tool_call")
_BINARY = re.compile(r"(audio|image|video)/|application/(octet-stream|pdf|zip)")
_STANDARD_TIERS = (None, "auto", "default")
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")

# Two line ends in a row; "\r\n" is one line end, and the last "\r" may get its "\n" later: an empty line.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Most events hold a few letters of text and are not worth parsing. Inside JSON text quotes are escaped, so
# that a model cannot write these by saying them.
_TELLING = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:\s*(?!\s|null|false)|"service_tier"\s*:\s*"(?!default"|auto")'
    rb'|"annotations"\s*:\s*\[\s*\{|"audio"\s*:\s*\{'
    rb'|"type"\s*:\s*"(?:error|response\.(?:completed|incomplete|failed))"'
)
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


@dataclass(frozen=True, slots=True)
class Failure:
    """An error told inside an answer that began well, without the key."""

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


def reader_for(method: str, ask: Ask, content_type: str, cleaner: Cleaner, *, drop_usage: bool) -> Reader:
    """Choose the reader for an answer.

    Args:
        method: the request's; what is merely looked up again was billed when it was made.
        ask: what the request asked for.
        content_type: of the answer.
        cleaner: takes the key out.
        drop_usage: the usage event was asked for by us, not by the caller.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json"
    counts = method == "POST" and _REPORT_USAGE.fullmatch(ask.endpoint) is not None
    endpoint = ask.endpoint if counts else None
    if kind == "text/event-stream":
        return EventReader(endpoint, ask.choices, cleaner, drop_usage=drop_usage)
    if _BINARY.match(kind) or not (counts or is_json):
        return _Unread(cleaner)
    if ask.streaming and not is_json:
        return EventReader(endpoint, ask.choices, cleaner, drop_usage=drop_usage)
    return JsonReader(endpoint, content_type, cleaner)


class _Unread:
    """For what reports no usage and is no text of one piece: files, sound."""

    def __init__(self, cleaner: Cleaner) -> None:
        self.reading = Reading(whole=True)
        self._clean = cleaner.clean

    def feed(self, chunk: bytes) -> bytes:
        return self._clean(chunk)

    def finish(self) -> bytes:
        self.reading.final = True
        return b""


class JsonReader:
    """Reads a whole JSON body at its end, and passes it on then.

    Without an ``endpoint`` it counts nothing.
    """

    def __init__(self, endpoint: str | None, content_type: str, cleaner: Cleaner) -> None:
        self.reading = Reading(whole=True)
        self._endpoint = endpoint
        self._content_type = content_type
        self._clean = cleaner.clean
        self._body = bytearray()
        self._blind = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blind:
            return self._clean(chunk)
        self._body += chunk
        self._blind = len(self._body) > _LONGEST_BODY
        return self._clean(self._taken()) if self._blind else b""

    def finish(self) -> bytes:
        self.reading.final = True
        body = self._taken()
        readable = in_utf8(body, self._content_type)
        if readable is not body:  # read as it is first, as the body of an error answer
            body = self._clean(body)
            readable = in_utf8(body, self._content_type)
        passed, content = _cleaned(readable, bytes, self._clean)
        _take(self.reading, self._endpoint, content)
        return body if passed == readable else passed

    def _taken(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body


class EventReader:
    """Splits server-sent events wherever the network cut them, and reads those that tell something.

    Without an ``endpoint`` it counts nothing.
    """

    def __init__(self, endpoint: str | None, choices: int, cleaner: Cleaner, *, drop_usage: bool) -> None:
        self.reading = Reading(whole=endpoint not in {CHAT, RESPONSES})
        self._endpoint = endpoint
        self._choices = choices
        self._clean = cleaner.clean
        self._finished: set[int] = set()
        self._drops = drop_usage
        self._held = bytearray()
        self._blind = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blind:
            return self._clean(chunk)
        seen = max(0, len(self._held) - 3)  # a line end may be cut in two
        self._held += chunk
        passed = bytearray()
        while found := _EVENT_END.search(self._held, seen):
            event = bytes(self._held[: found.end()])
            del self._held[: found.end()]
            seen = 0
            passed += self._heard(event)
        if len(self._held) > _LONGEST_BODY:
            passed += self._clean(bytes(self._held))
            self._held.clear()
            self._blind = True
        return bytes(passed)

    def finish(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        return self._heard(rest) if rest else b""

    def _heard(self, event: bytes) -> bytes:
        """Read one event; returns what the caller gets of it: nothing of the usage that only we asked for."""
        reading = self.reading
        telling = _TELLING.search(event) or _FINISHED.search(event)
        if not telling and reading.model is not None and b"[DONE]" not in event:
            return self._clean(event)
        event, content = _cleaned(event, _data, self._clean)
        if _data(event).strip() == b"[DONE]":
            reading.final = reading.whole = True
            return event
        _take(reading, self._endpoint, content)
        self._note_end(content)
        return b"" if self._drops and _is_usage_only(content) else event

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


def _cleaned(
    raw: bytes, data: Callable[[bytes], bytes], clean: Callable[..., bytes]
) -> tuple[bytes, dict[str, Any]]:
    """A body or event without the key, and what its ``data`` says."""
    passed = clean(raw)
    content = _parse(data(passed))
    if _error_in(content) is None:
        return passed, content
    passed = clean(raw, error=True)
    return passed, _parse(data(passed))


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


def _take(reading: Reading, endpoint: str | None, content: dict[str, Any]) -> None:
    """Note all that one JSON body or event tells."""
    reading.spoken = reading.spoken or bool(content)
    if endpoint is None:
        return
    body = _told_of(content)
    reading.model = reading.model or shown(body.get("model"))
    reading.priceable = reading.priceable and _is_plain(body)
    reading.failure = _error_in(content) or reading.failure
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


def _told_of(content: dict[str, Any]) -> dict[str, Any]:
    """What an event tells of: a whole response, or itself."""
    nested = content.get("response")
    return nested if isinstance(nested, dict) else content


def _error_in(content: dict[str, Any]) -> Failure | None:
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
