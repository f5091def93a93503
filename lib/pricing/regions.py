"""What a provider's models cost more in a region; which hosts are in one, the provider itself says (lib.llm)."""

from __future__ import annotations

from lib.pricing.table_gaps import SURCHARGES


def percent_more(provider: str, model: str, region: str) -> int | None:
    """By how many per cent a model's tokens cost more in this region; None where the provider does not say."""
    if not region:
        return 0
    surcharge = SURCHARGES.get(provider)
    if surcharge is None:
        return None
    name = model.lower()
    if surcharge.applies_to.match(name):
        return surcharge.percent
    return 0 if surcharge.applies_not_to.match(name) else None


def most_percent_more(provider: str, region: str) -> int | None:
    """The most that any model of the provider costs more there; None where nobody says."""
    if not region:
        return 0
    surcharge = SURCHARGES.get(provider)
    return surcharge.percent if surcharge else None


def raised(price: int, percent: int) -> int:
    """A price with that much more; a fraction of a nano-USD is rounded up."""
    return -(-price * (100 + percent) // 100)
