"""How calls of the sample data end, in the words that a provider (or Qodex itself) uses."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from lib.ledger.attempts import AttemptResult
from lib.llm import registry
from lib.pricing.prices import NO_TOKENS, Tokens
from lib.providers import DEFAULT
from lib.sample.traffic import DraftCall

REJECTED = AttemptResult(
    "error",
    NO_TOKENS,
    401,
    "invalid_api_key",
    "invalid_request_error",
    "Incorrect API key provided: [key hidden]. You can find your API key at "
    f"{registry.provider(DEFAULT).links.keys}.",
    key_verdict="rejected",
)
OUT_OF_MONEY = AttemptResult(
    "error",
    NO_TOKENS,
    429,
    "insufficient_quota",
    "insufficient_quota",
    "You exceeded your current quota, please check your plan and billing details.",
    key_verdict="out_of_money",
)
_RATE_LIMITED, _OVERLOADED = "rate_limited", "overloaded"
_REFUSALS: dict[str, dict[str, tuple[int, str | None, str, str]]] = {
    "openai": {
        _RATE_LIMITED: (
            429,
            "rate_limit_exceeded",
            "tokens",
            "Rate limit reached on tokens per min (TPM). Please try again in 1.2s.",
        ),
        _OVERLOADED: (
            503,
            "server_error",
            "server_error",
            "The server is overloaded or not ready yet. Please try again later.",
        ),
    },
    "anthropic": {
        _RATE_LIMITED: (
            429,
            None,
            "rate_limit_error",
            "This request would exceed your organization's rate limit.",
        ),
        _OVERLOADED: (529, None, "overloaded_error", "Overloaded"),
    },
    "google": {
        _RATE_LIMITED: (
            429,
            "429",
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota. Please retry in 34s.",
        ),
        _OVERLOADED: (503, "503", "UNAVAILABLE", "The model is overloaded. Please try again later."),
    },
}
"""Status, code, type and message of what each provider says."""

_ENDS = {
    "broken": AttemptResult(
        "broken", None, 200, error_message="The connection broke before the answer was complete."
    ),
    "abandoned": AttemptResult("abandoned", None, 200),
}


def outcome_of(call: DraftCall, chance: Random) -> AttemptResult:
    """Return how the call ends; one that ends ``unknown`` is never settled, and has none."""
    refusal = _REFUSALS[call.provider].get(call.mishap)
    if refusal is not None:
        found = AttemptResult("error", NO_TOKENS, *refusal)
    else:
        found = _ENDS[call.mishap] if call.mishap else _answer(call)
    request_id = f"req_{chance.getrandbits(128):032x}"
    return replace(found, upstream_request_id=request_id, latency_ms=call.latency_ms)


def _answer(call: DraftCall) -> AttemptResult:
    tokens = Tokens(call.input, call.cached, call.output, call.reasoning)
    return AttemptResult("ok", tokens, 200, key_verdict="fine", served_model=call.model)
