"""How calls of the sample data go wrong, in the words that a provider (or Qodex itself) uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mishap:
    """How a call ended, as its usage row has it (see lib.db.tables.usage_events)."""

    status: str
    http_status: int | None = None
    code: str | None = None
    type: str | None = None
    message: str | None = None


REJECTED = Mishap(
    "error",
    401,
    "invalid_api_key",
    "invalid_request_error",
    "Incorrect API key provided: [key hidden]. You can find your API key at "
    "https://platform.openai.com/account/api-keys.",
)
OUT_OF_MONEY = Mishap(
    "error",
    429,
    "insufficient_quota",
    "insufficient_quota",
    "You exceeded your current quota, please check your plan and billing details.",
)
MISHAPS = {
    "": Mishap("ok", 200),
    "rate_limited": Mishap(
        "error",
        429,
        "rate_limit_exceeded",
        "tokens",
        "Rate limit reached on tokens per min (TPM). Please try again in 1.2s.",
    ),
    "overloaded": Mishap(
        "error",
        503,
        "server_error",
        "server_error",
        "The server is overloaded or not ready yet. Please try again later.",
    ),
    "broken": Mishap("broken", 200, message="The connection broke before the answer was complete."),
    "abandoned": Mishap("abandoned", 200),
    "unknown": Mishap("unknown", message="The worker stopped before the outcome was known."),
}
