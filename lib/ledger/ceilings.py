"""The most a platform-funded call can cost, told before it is sent. Pure."""

from __future__ import annotations

from datetime import datetime

from lib.errors import NotMetered, PriceUnknown
from lib.ledger.attempts import RequestProfile
from lib.pricing.prices import PriceBook
from lib.pricing.regions import raised
from lib.pricing.terms import Terms


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
        _context(profile, prices)
        if profile.uses_context_window
        else profile.input_bytes + profile.framing_tokens
    )
    limit = default_output_limit if profile.output_limit is None else None
    output_tokens = (profile.output_limit if limit is None else limit) or 0
    tokens = input_tokens, output_tokens * profile.choices
    nano = _most(profile, prices, tokens, Terms(region=profile.region, text_only=True), at)
    if profile.service_tier is not None:
        # A provider that has no room at the tier that was asked for answers at the standard one.
        nano = max(nano, _most_at_tier(profile, prices, tokens, at))
    return raised(nano, profile.surcharge_percent), limit


def _most(
    profile: RequestProfile, prices: PriceBook, tokens: tuple[int, int], terms: Terms, at: datetime
) -> int:
    given, made = tokens
    return prices.ceiling(
        profile.model,
        input_tokens=given,
        output_tokens=made,
        at=at,
        provider=profile.provider,
        terms=terms,
    )


def _most_at_tier(profile: RequestProfile, prices: PriceBook, tokens: tuple[int, int], at: datetime) -> int:
    terms = Terms(tier=profile.service_tier or "", region=profile.region, text_only=True)
    try:
        return _most(profile, prices, tokens, terms, at)
    except PriceUnknown:
        tier = f"what {profile.model} costs at the service tier that it asks for is unknown"
        raise NotMetered(f"The call was not sent: {tier}. It can run with the project's own key.") from None


def _context(profile: RequestProfile, prices: PriceBook) -> int:
    window = prices.context_window(profile.model, provider=profile.provider)
    if window is None:
        prices_known = f"how much {profile.model} reads at most is unknown, and so is what it could cost"
        raise NotMetered(f"The call was not sent: {prices_known}. It can run with the project's own key.")
    return window


__all__ = ["PriceUnknown", "ceiling"]
