"""How the toy provider's answers are read: ``counted`` in bodies and in lines of JSON, refusals as ``fault``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import (
    AnswerUsage,
    EventParser,
    Failure,
    JSONParser,
    StreamParser,
    cleaned,
    parsed,
    shown,
)
from lib.llm.error_answers import (
    ErrorAnswer,
    ErrorKind,
    hides_the_outcome,
    is_web_page,
    label,
    no_message,
)
from lib.llm.redaction import Cleaner, redact_text
from lib.pricing.prices import Tokens
from lib.secret import Secret

_KINDS: dict[str, ErrorKind] = {
    "KEY_UNKNOWN": "rejected",
    "PURSE_EMPTY": "out_of_money",
    "TOO_FAST": "rate_limited",
}


class ToyUsage(AnswerUsage):
    """Cumulative: each line repeats the tokens so far. What was read again and what was thought stand apart."""

    def update_from(self, content: dict[str, Any], *, is_all: bool) -> None:
        self.spoken = self.spoken or bool(content)
        if self.profile is None:
            return
        if self.tells_error(content):
            fault = content["fault"]
            self.failure = Failure(shown(fault.get("reason")), None, shown(fault.get("text")))
        self.note_model(shown(content.get("engine")))
        if content.get("piece"):
            self.note_writing()
        if "counted" in content:
            self.note_tokens(_tokens(content["counted"]))
        if content.get("over"):
            self.final = self.whole = True

    @staticmethod
    def tells_error(content: dict[str, Any]) -> bool:
        return isinstance(content.get("fault"), dict)


def _tokens(counted: Any) -> Tokens | None:
    names = ("read", "reread", "made", "thought")
    counts = [counted.get(name, 0) for name in names] if isinstance(counted, dict) else []
    if not counts or any(type(count) is not int or count < 0 for count in counts):
        return None
    read, again, made, thought = counts
    return Tokens(read + again, again, made + thought, thought)


class LineParser(EventParser):
    """One JSON object a line."""

    END, LONGEST_END = re.compile(rb"\n"), 1

    def handle_event(self, event: bytes) -> bytes:
        passed, content = cleaned(event, bytes, self._clean, self.usage.tells_error)
        self.usage.update_from(content, is_all=False)
        return passed


def parser_for(profile: RequestProfile, content_type: str, cleaner: Cleaner) -> StreamParser:
    usage = ToyUsage(profile if profile.endpoint == "generate" else None)
    if content_type.startswith("application/x-ndjson"):
        return LineParser(usage, cleaner)
    return JSONParser(usage, content_type, cleaner)


def classify_error(status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret) -> ErrorAnswer:
    fault = parsed(body).get("fault")
    told: dict[str, Any] = fault if isinstance(fault, dict) else {}
    reason, text = told.get("reason"), told.get("text")
    return ErrorAnswer(
        kind=_KINDS.get(str(reason), "overloaded" if status >= 500 else "other"),
        status=status,
        code=label(reason, *secrets),
        type=None,
        message=redact_text(str(text or ""), *secrets) or no_message(status),
        request_id=request_id_of(headers, *secrets),
        is_web_page=is_web_page(body, headers),
        is_outcome_unknown=hides_the_outcome(status) and not told,
    )


def request_id_of(headers: Mapping[str, str], *secrets: Secret) -> str | None:
    return redact_text(headers.get("toy-trace", ""), *secrets) or None


def text_of(body: bytes) -> str:
    """What the model wrote, in an answer of either form."""
    return "".join(json.loads(line).get("piece", "") for line in body.splitlines() if line.strip())
