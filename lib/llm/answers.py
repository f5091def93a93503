"""What is known of an answer while it passes through, and the parsers that all providers share.

A parser is fed what the provider sends and returns what the caller gets, event by event or a body at its end: the
very bytes, except for the key. What a provider says may be wrong, broken or hostile: an answer that cannot be read
has unknown tokens, and never an exception.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lib.ledger.attempts import RequestProfile
from lib.llm.redaction import Cleaner, in_utf8
from lib.pricing.prices import Tokens
from lib.pricing.tool_calls import NO_TOOL_CALLS, ToolCalls

_LONGEST_BODY = 64 * 1024 * 1024
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """An error told inside an answer that began well, without the key."""

    code: str | None
    type: str | None
    message: str | None


@dataclass(slots=True)
class AnswerUsage(ABC):
    """What is known about an answer so far. Without a ``profile`` it is not billed, and nothing is counted.

    Each provider says in ``update_from`` what its bodies and events tell.
    """

    profile: RequestProfile | None = None
    reported: Tokens | None = None
    """The largest usage so far; it may not be the last word."""
    model: str | None = None
    service_tier: str | None = None
    """None for the standard tier, or where none is named."""
    names_tier: bool = False
    tool_calls: ToolCalls = NO_TOOL_CALLS
    priceable: bool = True
    failure: Failure | None = None
    final: bool = False
    """True once nothing can follow that changes the tokens: the caller may leave."""
    whole: bool = False
    """True once the answer may end here without being cut off."""
    spoken: bool = False
    """True once it was a provider that spoke: JSON, not the web page of somebody in between."""
    wrote: bool = False
    """True once the model has written anything."""
    outdated: bool = False
    """True while more has been written since the newest usage."""
    contradictory: bool = False
    """True while the newest usage cannot be, or takes something of an earlier one back."""
    over: bool = False
    """True once an error was told after which nothing comes: some SDKs raise it and leave the answer open."""
    answer_id: str | None = None
    """The provider's id of the answer where the body tells it, and no header does."""

    @property
    def tokens(self) -> Tokens | None:
        """What the answer used; None where that is not told, or told in a way that cannot be."""
        told = self.reported
        if told is None or self.contradictory or self.outdated or not told.input:
            return None
        return None if self.wrote and not told.output else told

    @property
    def is_priceable(self) -> bool:
        """Whether model, tokens, tier and tool calls are all that it is billed for."""
        profile = self.profile
        if profile is None or not profile.answer_tells_cost:
            return False
        return self.priceable and self.tells_all() and (profile.service_tier is None or self.names_tier)

    def tells_all(self) -> bool:
        """Whether nothing that is billed is still untold, by what has been said so far."""
        return True

    @abstractmethod
    def update_from(self, content: dict[str, Any], *, is_all: bool) -> None:
        """Note all that one JSON body or event tells.

        Args:
            content: what it says.
            is_all: it is the whole answer, or the event that repeats all of it.
        """

    @staticmethod
    @abstractmethod
    def tells_error(content: dict[str, Any]) -> bool:
        """Whether a body or event tells an error; then no piece of any key has a place in it."""

    def note_writing(self) -> None:
        """The model has written something that no usage has counted yet."""
        self.wrote = True
        self.outdated = self.reported is not None

    def note_model(self, model: str | None) -> None:
        """Two models in one answer have two prices."""
        if model is not None:
            self.priceable = self.priceable and self.model in (None, model)
            self.model = model

    def note_tokens(self, told: Tokens | None) -> None:
        """A usage: None says what cannot be, nothing is no usage, and less than an earlier one contradicts it."""
        if told is None:
            self.contradictory = True
            return
        if not told.input and not told.output:
            return
        most = self.reported or told
        self.contradictory = told.input < most.input or told.output < most.output
        self.reported = most if self.contradictory else told
        self.outdated = False


class StreamParser(Protocol):
    """Fed with what arrives; returns what to pass on."""

    @property
    def usage(self) -> AnswerUsage: ...

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class Unparsed:
    """For what reports no usage and is no text of one piece: files, sound."""

    def __init__(self, usage: AnswerUsage, cleaner: Cleaner) -> None:
        self.usage = usage
        usage.whole = True
        self._clean = cleaner.clean

    def feed(self, chunk: bytes) -> bytes:
        return self._clean(chunk)

    def finish(self) -> bytes:
        self.usage.final = True
        return b""


class JSONParser:
    """Parses a whole JSON body at its end, and passes it on then."""

    def __init__(self, usage: AnswerUsage, content_type: str, cleaner: Cleaner) -> None:
        self.usage = usage
        usage.whole = True
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
        body = self._taken()
        readable = in_utf8(body, self._content_type)
        if readable is not body:  # read as it is first, as the body of an error answer
            body = self._clean(body)
            readable = in_utf8(body, self._content_type)
        passed, content = cleaned(readable, bytes, self._clean, self.usage.tells_error)
        self.usage.update_from(content, is_all=True)
        self.usage.final = True  # not before: interrupted in between, it is not known
        return body if passed == readable else passed

    def _taken(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body


class EventParser(ABC):
    """Splits a stream into its events, wherever the network cut them."""

    END: ClassVar[re.Pattern[bytes]]
    """What an event ends with."""

    LONGEST_END: ClassVar[int]
    """Bytes of it at most: it may be cut in two."""

    def __init__(self, usage: AnswerUsage, cleaner: Cleaner) -> None:
        self.usage = usage
        self._clean = cleaner.clean
        self._held = bytearray()
        self._blind = False

    def feed(self, chunk: bytes) -> bytes:
        if self._blind:
            return self._clean(chunk)
        seen = max(0, len(self._held) - self.LONGEST_END + 1)
        self._held += chunk
        passed = bytearray()
        while found := self.END.search(self._held, seen):
            event = bytes(self._held[: found.end()])
            del self._held[: found.end()]
            seen = 0
            passed += self.handle_event(event)
        if len(self._held) > _LONGEST_BODY:
            passed += self._clean(bytes(self._held))
            self._held.clear()
            self._blind = True
        return bytes(passed)

    def finish(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        return self.handle_event(rest) if rest else b""

    @abstractmethod
    def handle_event(self, event: bytes) -> bytes:
        """Parse one event, its end included; returns what the caller gets of it, without the key."""


def cleaned(
    raw: bytes,
    data: Callable[[bytes], bytes],
    clean: Callable[..., bytes],
    tells_error: Callable[[dict[str, Any]], bool],
) -> tuple[bytes, dict[str, Any]]:
    """A body or event without the key, and what its ``data`` says."""
    passed = clean(raw)
    content = parsed(data(passed))
    if not tells_error(content):
        return passed, content
    passed = clean(raw, error=True)
    return passed, parsed(data(passed))


def parsed(data: bytes) -> dict[str, Any]:
    """The object in ``data``; an empty one where there is none."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def shown(value: object) -> str | None:
    """Foreign text that can be stored and shown: cut to length, without control characters; None for else."""
    if not isinstance(value, str):
        return None
    kept = "".join(letter if letter.isprintable() else " " for letter in value[:_LONGEST_TEXT])
    return kept.strip() or None


def choose_parser(
    billed: RequestProfile | None,
    content_type: str,
    cleaner: Cleaner,
    *,
    usage: Callable[[RequestProfile | None], AnswerUsage],
    stream: Callable[[RequestProfile | None, Cleaner], StreamParser],
) -> StreamParser:
    """Choose the parser for an answer of a provider whose bodies are JSON and whose streams are server-sent events.

    Args:
        billed: what the request asked for; None where its answer is not billed.
        content_type: of the answer.
        cleaner: takes the key out.
        usage: makes the provider's reading of an answer.
        stream: makes the provider's parser of events.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json"
    if kind == "text/event-stream" or (billed is not None and billed.streaming and not is_json):
        return stream(billed, cleaner)
    if billed is None and not is_json:
        return Unparsed(usage(None), cleaner)
    return JSONParser(usage(billed), content_type, cleaner)
