"""Parsing an answer of Anthropic's while it passes through: tokens, model, and whether it was whole.

The SDK makes a message of a stream that was cut as if nothing were missing. Here it is whole at ``message_stop``
and not before.
"""

from __future__ import annotations

import re

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import EventParser, StreamParser, choose_parser, cleaned
from lib.llm.anthropic.endpoints import MESSAGES
from lib.llm.anthropic.usage import ParsedUsage
from lib.llm.formats.server_sent_events import EVENT_END, LONGEST_END, data_of
from lib.llm.redaction import Cleaner

# Most events hold a few letters of text and are not worth parsing. Inside JSON text quotes are escaped, so that a
# model cannot write these by saying them.
_RELEVANT = re.compile(
    rb'"type"\s*:\s*"(?:error|message_start|message_delta|message_stop|content_block_start)"|"error"\s*:'
)
_WRITES = re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"(?!")')


def parser_for(method: str, profile: RequestProfile, content_type: str, cleaner: Cleaner) -> StreamParser:
    """Choose the parser for an answer.

    Args:
        method: the request's; what is merely looked up again was billed when it was made.
        profile: what the request asked for.
        content_type: of the answer.
        cleaner: takes the key out.
    """
    billed = profile if method == "POST" and profile.endpoint == MESSAGES else None
    return choose_parser(billed, content_type, cleaner, usage=ParsedUsage, stream=EventStream)


class EventStream(EventParser):
    """Parses the server-sent events that are relevant. Without a ``profile`` it counts nothing."""

    END, LONGEST_END = EVENT_END, LONGEST_END
    usage: ParsedUsage

    def __init__(self, profile: RequestProfile | None, cleaner: Cleaner) -> None:
        super().__init__(ParsedUsage(profile, whole=profile is None), cleaner)

    def handle_event(self, event: bytes) -> bytes:
        """Parse one event; returns what the caller gets of it."""
        usage = self.usage
        if not _RELEVANT.search(event):
            if not (usage.wrote and usage.outdated) and _WRITES.search(event):
                usage.note_writing()
            usage.spoken = True
            return self._clean(event)
        event, content = cleaned(event, data_of, self._clean, usage.tells_error)
        usage.update_from(content, is_all=False)
        if content.get("type") == "message_stop":
            usage.final = usage.whole = True
        return event
