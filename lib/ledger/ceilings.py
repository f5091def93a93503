"""The most a platform-funded call can cost, told before it is sent. Pure."""

from __future__ import annotations

from datetime import datetime

from lib.errors import NotMetered, PriceUnknown
from lib.ledger.attempts import RequestProfile
from lib.pricing.prices import PriceBook

_FRAMING_TOKENS = 64  # what a provider adds around messages beyond the bytes that describe them


def ceiling(
    profile: RequestProfile, default_output_limit: int, prices: PriceBook, *, at: datetime
) -> tuple[int, int | None]:
    """Return the ceiling in nano-USD, and the output limit to write into the request (None: it has one).

    Args:
        profile: what the request asks for.
        default_output_limit: the plan's, tokens an answer, for requests that set none.
        prices: the price table.
        at: the time of the call; prices change.

    Raises:
        NotMetered: bytes and limits do not bound the cost of such a request.
        PriceUnknown: the model has no known price.
    """
    if profile.cost_unbounded:
        raise NotMetered(
            f"The call was not sent: {profile.cost_unbounded}. It can run with the project's own key."
        )
    if profile.free:
        return 0, None
    input_tokens = (
        _context(profile, prices) if profile.uses_context_window else profile.input_bytes + _FRAMING_TOKENS
    )
    limit = default_output_limit if profile.output_limit is None else None
    output_tokens = (profile.output_limit if limit is None else limit) or 0
    nano = prices.ceiling(
        profile.model, input_tokens=input_tokens, output_tokens=output_tokens * profile.choices, at=at
    )
    return nano, limit


def _context(profile: RequestProfile, prices: PriceBook) -> int:
    window = prices.context_window(profile.model)
    if window is None:
        prices_known = f"how much {profile.model} reads at most is unknown, and so is what it could cost"
        raise NotMetered(f"The call was not sent: {prices_known}. It can run with the project's own key.")
    return window


__all__ = ["PriceUnknown", "ceiling"]
