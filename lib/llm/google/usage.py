"""What one JSON body or event of Google's says: tokens, model, tier, errors, and what is billed beside the tokens.

``promptTokenCount`` includes what was read from a cache, ``candidatesTokenCount`` leaves thoughts out, and what tools
gave the model is more input; the total is a check. In a stream each event repeats the usage by then, and the last one
that counts candidates holds. What contradicts itself is unknown, and never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lib.llm.answers import AnswerUsage, Failure, shown
from lib.llm.google.billable import plain_tier
from lib.llm.google.endpoints import GENERATING, without_prefix
from lib.pricing.prices import Tokens

_MOST = 1_000_000_000
_COUNTS = """
    promptTokenCount cachedContentTokenCount candidatesTokenCount thoughtsTokenCount toolUsePromptTokenCount
    totalTokenCount
"""
_NAMES = tuple(_COUNTS.split())
_INPUT_DETAILS = (
    "promptTokensDetails",
    "promptTokenDetails",
    "cacheTokensDetails",
    "toolUsePromptTokensDetails",
)
_AS_TEXT = frozenset({"TEXT", "MODALITY_UNSPECIFIED"})
_READ_AS_TEXT = _AS_TEXT | {"IMAGE", "VIDEO", "DOCUMENT"}
"""What is billed like text where a model reads it to write text; sound costs more."""

_KNOWN_FIELDS = frozenset({*_NAMES, *_INPUT_DETAILS, "candidatesTokensDetails", "trafficType", "serviceTier"})
_TRAFFIC = {"": "", "TRAFFIC_TYPE_UNSPECIFIED": "", "ON_DEMAND": ""} | {
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
}
_WRITTEN = frozenset({"text", "functionCall", "executableCode", "codeExecutionResult"})
_BESIDE = frozenset({"thought", "thoughtSignature"})


@dataclass(slots=True)
class ParsedUsage(AnswerUsage):
    """What is known about an answer of Google's so far."""

    begun: set[int] = field(default_factory=set)
    """Numbers of the candidates that have begun, and of those that have ended."""
    ended: set[int] = field(default_factory=set)
    says_more: bool = False
    """True once the model has written something besides thoughts."""
    counts_candidates: bool = False
    """True once a usage has counted them."""
    is_text: bool = True
    """False while the newest usage counts what is not billed like text, or leaves open whether it does."""

    def update_from(self, content: dict[str, Any], *, is_all: bool) -> None:
        """Note all that one JSON body or event tells, ``is_all`` where it is the whole answer."""
        self.spoken = self.spoken or bool(content)
        if self.profile is None:
            return
        self.failure = error_in(content) or self.failure
        self.over = self.failure is not None
        self.answer_id = shown(content.get("responseId")) or self.answer_id
        model = shown(content.get("modelVersion"))
        self.note_model(without_prefix(model) if model else None)
        for candidate in _objects(content.get("candidates")):
            self._note_candidate(candidate)
        self._note_usage(content.get("usageMetadata"))
        if not is_all and self._has_ended(content):
            self.whole = True
            self.final = self.tokens is not None

    @staticmethod
    def tells_error(content: dict[str, Any]) -> bool:
        """Whether a body or event tells an error."""
        return error_in(content) is not None

    def tells_all(self) -> bool:
        """Whether all tokens are of a kind whose price is known."""
        return self.is_text

    @property
    def _generates(self) -> bool:
        return self.profile is not None and self.profile.endpoint in GENERATING

    def _has_ended(self, content: dict[str, Any]) -> bool:
        choices = self.profile.choices if self.profile else 1
        return len(self.ended) >= choices or bool(_dict(content.get("promptFeedback")).get("blockReason"))

    def _note_candidate(self, candidate: dict[str, Any]) -> None:
        number = candidate.get("index")
        for part in _objects(_dict(candidate.get("content")).get("parts")):
            self._note_part(part)
        if candidate.get("groundingMetadata"):
            self.priceable = False  # searches have a fee, and how many were billed no answer says
        reason = candidate.get("finishReason")
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            self.ended.add(number if isinstance(number, int) else 0)

    def _note_part(self, part: dict[str, Any]) -> None:
        if any(part.get(name) for name in _WRITTEN):
            self.note_writing()
            self.says_more = self.says_more or not part.get("thought")
        if any(part[name] is not None for name in part.keys() - _WRITTEN - _BESIDE):
            self.note_writing()
            self.priceable = False  # sound, pictures, and what there may be one day

    def _note_usage(self, usage: Any) -> None:
        if usage is None:
            return
        if not isinstance(usage, dict):
            self.note_tokens(None)
            return
        counts = _is_count(usage.get("candidatesTokenCount"))
        if self.counts_candidates and not counts:
            return
        self.counts_candidates = self.counts_candidates or counts
        self._note_terms(usage)
        self._note_modalities(usage)
        # A caller may ask for some of the counts only (fields, X-Goog-FieldMask): the total shows what is left out.
        whole = not self._generates or usage.get("totalTokenCount") is not None
        self.note_tokens(read_tokens(usage) if whole else None)
        if self.says_more and not usage.get("candidatesTokenCount"):
            self.outdated = True

    def _note_terms(self, usage: dict[str, Any]) -> None:
        """The tier, be it told as a tier or as a kind of traffic; both at once must agree."""
        tier, traffic = usage.get("serviceTier"), usage.get("trafficType")
        told = [plain_tier(tier)] if isinstance(tier, str) else []
        told += [_TRAFFIC[traffic]] if isinstance(traffic, str) and traffic in _TRAFFIC else []
        self.names_tier = bool(told)
        self.service_tier = next((word for word in told if word), None)
        odd = len(set(told)) > 1 or len(told) != len([word for word in (tier, traffic) if word is not None])
        others = [value for name, value in usage.items() if name not in _KNOWN_FIELDS]
        self.priceable = self.priceable and not odd and not any(map(_counts_something, others))

    def _note_modalities(self, usage: dict[str, Any]) -> None:
        read = [kind for name in _INPUT_DETAILS for kind in _kinds(usage.get(name))]
        written = _kinds(usage.get("candidatesTokensDetails"))
        plain = set(read) <= (_READ_AS_TEXT if self._generates else _AS_TEXT) and set(written) <= _AS_TEXT
        untold = self.profile is not None and self.profile.cost_unbounded is not None and not read
        self.is_text = plain and not untold


def read_tokens(usage: dict[str, Any]) -> Tokens | None:
    """Tokens of a ``usageMetadata`` object; None where it says what cannot be."""
    told = [usage.get(name) for name in _NAMES]
    if not all(value is None or _is_count(value) for value in told) or told[0] is None:
        return None
    prompt, cached, candidates, thoughts, tools, total = (int(value or 0) for value in told)
    if cached > prompt or (told[-1] is not None and total != prompt + candidates + thoughts + tools):
        return None
    return Tokens(prompt + tools, cached, candidates + thoughts, thoughts)


def error_in(content: dict[str, Any]) -> Failure | None:
    """The error that it tells, if any."""
    error = content.get("error")
    if not error:
        return None
    told = _dict(error)
    status, code = told.get("status"), told.get("code")
    code = str(code) if isinstance(code, int) else code
    return Failure(
        shown(reason_in(told) or code), shown(status), shown(told.get("message") if told else error)
    )


def reason_in(error: dict[str, Any]) -> str | None:
    """The reason of an ``ErrorInfo`` among the details of an error."""
    for detail in _objects(error.get("details")):
        if str(detail.get("@type")).endswith("google.rpc.ErrorInfo") and isinstance(
            detail.get("reason"), str
        ):
            return str(detail["reason"])
    return None


def _kinds(details: object) -> list[str]:
    """Kinds of tokens of which there is any."""
    if details is None:
        return []
    if not isinstance(details, list) or not all(isinstance(each, dict) for each in details):
        return ["?"]
    return [str(each.get("modality", "TEXT")) for each in details if each.get("tokenCount") != 0]


def _counts_something(told: object) -> bool:
    """Whether there is any number but zero in it, at any depth; Google writes those of 64 bits as text."""
    if isinstance(told, dict):
        return any(_counts_something(value) for value in told.values())
    if isinstance(told, list):
        return any(_counts_something(value) for value in told)
    if isinstance(told, str):
        return told.isdecimal() and told.strip("0") != ""
    return isinstance(told, int | float) and bool(told)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
