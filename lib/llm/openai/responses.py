"""Parsing an answer while it passes through: tokens, model, and whether it was whole.

A parser is fed what the provider sends and returns what the caller gets, event by event or a body at its end:
the very bytes, except for the key, and for the usage of a chat stream that we asked for and the caller did not.
What a provider says may be wrong, broken or hostile: an answer that cannot be read has unknown tokens, and
never an exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from lib.ledger.attempts import RequestProfile
from lib.llm.openai.endpoints import CHAT, RESPONSES
from lib.llm.openai.usage import ParsedUsage, error_in, finished, has_usage
from lib.llm.redaction import Cleaner, in_utf8

_LONGEST_BODY = 64 * 1024 * 1024
_REPORT_USAGE = re.compile(rf"{CHAT}|{RESPONSES}(/compact)?|embeddings|completions|(images|audio)/\w+")
_BINARY = re.compile(r"(audio|image|video)/|application/(octet-stream|pdf|zip)")
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")

# Two line ends in a row; "\r\n" is one line end, and the last "\r" may get its "\n" later: an empty line.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Most events hold a few letters of text and are not worth parsing. Inside JSON text quotes are escaped, so
# that a model cannot write these by saying them.
_RELEVANT = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:\s*(?!\s|null|false)|"service_tier"\s*:\s*"(?!default"|auto")'
    rb'|"annotations"\s*:\s*\[\s*\{|"audio"\s*:\s*\{'
    rb'|"type"\s*:\s*"(?:error|response\.(?:completed|incomplete|failed))"'
)
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_WRITES = {
    CHAT: re.compile(rb'"(?:content|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"(?!")'),
    RESPONSES: re.compile(rb'"delta"\s*:\s*"(?!")'),
    "completions": re.compile(rb'"text"\s*:\s*"(?!")'),
}


class StreamParser(Protocol):
    """Fed with what arrives; returns what to pass on."""

    usage: ParsedUsage

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def parser_for(
    method: str, profile: RequestProfile, content_type: str, cleaner: Cleaner, *, drop_usage: bool
) -> StreamParser:
    """Choose the parser for an answer.

    Args:
        method: the request's; what is merely looked up again was billed when it was made.
        profile: what the request asked for.
        content_type: of the answer.
        cleaner: takes the key out.
        drop_usage: the usage was asked for by us, not by the caller.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json"
    counts = method == "POST" and _REPORT_USAGE.fullmatch(profile.endpoint) is not None
    billed = profile if counts else None
    if kind == "text/event-stream":
        return SSEParser(billed, cleaner, drop_usage=drop_usage)
    if _BINARY.match(kind) or not (counts or is_json):
        return _Unparsed(cleaner)
    if profile.streaming and not is_json:
        return SSEParser(billed, cleaner, drop_usage=drop_usage)
    return JSONParser(billed, content_type, cleaner)


class _Unparsed:
    """For what reports no usage and is no text of one piece: files, sound."""

    def __init__(self, cleaner: Cleaner) -> None:
        self.usage = ParsedUsage(whole=True)
        self._clean = cleaner.clean

    def feed(self, chunk: bytes) -> bytes:
        return self._clean(chunk)

    def finish(self) -> bytes:
        self.usage.final = True
        return b""


class JSONParser:
    """Parses a whole JSON body at its end, and passes it on then. Without a ``profile`` it counts nothing."""

    def __init__(self, profile: RequestProfile | None, content_type: str, cleaner: Cleaner) -> None:
        self.usage = ParsedUsage(profile, whole=True)
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
        passed, content = _cleaned(readable, bytes, self._clean)
        self.usage.update_from(content, is_all=True)
        self.usage.final = True  # not before: interrupted in between, it is not known
        return body if passed == readable else passed

    def _taken(self) -> bytes:
        body = bytes(self._body)
        self._body.clear()
        return body


class SSEParser:
    """Splits server-sent events wherever the network cut them, and parses the relevant ones.

    Without a ``profile`` it counts nothing.
    """

    def __init__(self, profile: RequestProfile | None, cleaner: Cleaner, *, drop_usage: bool) -> None:
        endpoint = profile.endpoint if profile else None
        self.usage = ParsedUsage(profile, whole=endpoint not in {CHAT, RESPONSES})
        self._choices = profile.choices if profile else 1
        self._writes = _WRITES.get(endpoint or "")
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
            passed += self._handle_event(event)
        if len(self._held) > _LONGEST_BODY:
            passed += self._clean(bytes(self._held))
            self._held.clear()
            self._blind = True
        return bytes(passed)

    def finish(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        return self._handle_event(rest) if rest else b""

    def _handle_event(self, event: bytes) -> bytes:
        """Parse one event; returns what the caller gets of it: nothing of the usage that only we asked for."""
        usage = self.usage
        relevant = _RELEVANT.search(event) or _FINISHED.search(event)
        if not relevant and usage.model is not None and b"[DONE]" not in event:
            self._note_writing(event)
            return self._clean(event)
        event, content = _cleaned(event, _data, self._clean)
        if _data(event).strip() == b"[DONE]":
            usage.final = usage.whole = True
            return event
        usage.update_from(content, is_all=content.get("type") in _LAST_EVENTS)
        self._note_end(content)
        return _without_usage(event, content) if self._drops and has_usage(content) else event

    def _note_writing(self, event: bytes) -> None:
        """Needed once before any usage, and once after: most events only say a little more."""
        usage = self.usage
        is_known = usage.wrote and (usage.outdated or usage.reported is None)
        if self._writes and not is_known and self._writes.search(event):
            usage.note_writing()

    def _note_end(self, content: dict[str, Any]) -> None:
        """Some servers count along and tell a usage with every piece: it is the last only once all is said."""
        usage = self.usage
        if content.get("type") in _LAST_EVENTS:
            usage.final = usage.whole = True
            return
        if choices := content.get("choices"):
            self._finished |= finished(choices)
        usage.whole = usage.whole or len(self._finished) >= self._choices
        usage.final = usage.final or (usage.whole and has_usage(content) and usage.tokens is not None)


def _without_usage(event: bytes, content: dict[str, Any]) -> bytes:
    """A chat stream's event as who asked for no usage gets it: nothing where it tells only that."""
    if not content.get("choices"):
        return b""
    rest = {name: value for name, value in content.items() if name != "usage"}
    lines = [line for line in _LINE_END.split(event) if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + json.dumps(rest, separators=(",", ":")).encode(), b"", b""])


def _cleaned(
    raw: bytes, data: Callable[[bytes], bytes], clean: Callable[..., bytes]
) -> tuple[bytes, dict[str, Any]]:
    """A body or event without the key, and what its ``data`` says."""
    passed = clean(raw)
    content = _parse(data(passed))
    if error_in(content) is None:
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
