"""Parsing an answer of Google's while it passes through: tokens, model, and whether it was whole.

No event is the last by its name: a stream is whole once each candidate has said why it ended, and not before.
"""

from __future__ import annotations

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import EventParser, StreamParser, choose_parser, cleaned
from lib.llm.formats.server_sent_events import EVENT_END, LONGEST_END, data_of
from lib.llm.google.endpoints import METERED
from lib.llm.google.usage import ParsedUsage
from lib.llm.redaction import Cleaner


def parser_for(method: str, profile: RequestProfile, content_type: str, cleaner: Cleaner) -> StreamParser:
    """Choose the parser for an answer.

    Args:
        method: the request's; what is merely looked up again was billed when it was made.
        profile: what the request asked for.
        content_type: of the answer.
        cleaner: takes the key out.
    """
    billed = profile if method == "POST" and profile.endpoint in METERED else None
    return choose_parser(billed, content_type, cleaner, usage=ParsedUsage, stream=EventStream)


class EventStream(EventParser):
    """Parses server-sent events. Without a ``profile`` it counts nothing."""

    END, LONGEST_END = EVENT_END, LONGEST_END
    usage: ParsedUsage

    def __init__(self, profile: RequestProfile | None, cleaner: Cleaner) -> None:
        super().__init__(ParsedUsage(profile, whole=profile is None), cleaner)

    def handle_event(self, event: bytes) -> bytes:
        """Parse one event; returns what the caller gets of it."""
        event, content = cleaned(event, _said, self._clean, self.usage.tells_error)
        self.usage.update_from(content, is_all=False)
        return event


def _said(event: bytes) -> bytes:
    """An error in the middle of a stream may come as it is, without ``data:`` before it."""
    return data_of(event) or event
