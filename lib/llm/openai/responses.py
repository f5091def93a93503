"""Parsing an answer while it passes through: tokens, model, and whether it was whole.

A parser is fed what the provider sends and returns what the caller gets, event by event or a body at its end:
the very bytes, except for the key, and for the usage of a chat stream that we asked for and the caller did not.
What a provider says may be wrong, broken or hostile: an answer that cannot be read has unknown tokens, and
never an exception.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import EventParser, JSONParser, StreamParser, Unparsed, cleaned
from lib.llm.formats.server_sent_events import EVENT_END, LINE_END, LONGEST_END, data_of
from lib.llm.openai.endpoints import CHAT, RESPONSES
from lib.llm.openai.usage import ParsedUsage, finished, has_usage
from lib.llm.redaction import Cleaner

_REPORT_USAGE = re.compile(rf"{CHAT}|{RESPONSES}(/compact)?|embeddings|completions|(images|audio)/\w+")
_BINARY = re.compile(r"(audio|image|video)/|application/(octet-stream|pdf|zip)")
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")

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
        return Unparsed(ParsedUsage(), cleaner)
    if profile.streaming and not is_json:
        return SSEParser(billed, cleaner, drop_usage=drop_usage)
    return JSONParser(ParsedUsage(billed), content_type, cleaner)


class SSEParser(EventParser):
    """Parses the server-sent events that are relevant. Without a ``profile`` it counts nothing."""

    END, LONGEST_END = EVENT_END, LONGEST_END
    usage: ParsedUsage

    def __init__(self, profile: RequestProfile | None, cleaner: Cleaner, *, drop_usage: bool) -> None:
        endpoint = profile.endpoint if profile else None
        super().__init__(ParsedUsage(profile, whole=endpoint not in {CHAT, RESPONSES}), cleaner)
        self._choices = profile.choices if profile else 1
        self._writes = _WRITES.get(endpoint or "")
        self._finished: set[int] = set()
        self._drops = drop_usage

    def handle_event(self, event: bytes) -> bytes:
        """Parse one event; returns what the caller gets of it: nothing of the usage that only we asked for."""
        usage = self.usage
        relevant = _RELEVANT.search(event) or _FINISHED.search(event)
        if not relevant and usage.model is not None and b"[DONE]" not in event:
            self._note_writing(event)
            return self._clean(event)
        event, content = cleaned(event, data_of, self._clean, usage.tells_error)
        if data_of(event).strip() == b"[DONE]":
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
    lines = [line for line in LINE_END.split(event) if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, b"data: " + json.dumps(rest, separators=(",", ":")).encode(), b"", b""])
