"""What one model charges during one period, at one service tier: unit prices that may depend on the call's size.

Prices are nano-USD per million tokens. None is a price that nobody states.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """One unit's price: above ``start`` input tokens the whole call pays another one."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()
    known_up_to: int | None = None
    """Input tokens up to which the price is stated; None where there is no such limit."""

    def at(self, input_tokens: int) -> int | None:
        """The price for a call of this size."""
        if self._is_beyond(input_tokens):
            return None
        above = [price for start, price in self.tiers if input_tokens > start]
        return above[-1] if above else self.base

    def highest(self, input_tokens: int) -> int | None:
        """The highest price for a call of at most this size."""
        if self._is_beyond(input_tokens):
            return None
        return max([self.base, *(price for start, price in self.tiers if input_tokens > start)])

    def _is_beyond(self, input_tokens: int) -> bool:
        return self.known_up_to is not None and input_tokens > self.known_up_to


@dataclass(frozen=True, slots=True)
class Fees:
    """What is charged beside tokens, in nano-USD."""

    per_request: int = 0
    web_searches: int | None = None
    """For a thousand."""
    file_searches: int | None = None
    """For a thousand."""


@dataclass(frozen=True, slots=True)
class Rates:
    """All that is charged for a call."""

    input: Rate
    cached: Rate | None
    cache_write: Rate | None
    cache_write_1h: Rate | None
    output: Rate | None
    """None where the model makes no output tokens."""
    fees: Fees = Fees()

    def dearest_input(self, input_tokens: int) -> int | None:
        """The highest price of an input token, however it is read or written; None where it is not stated."""
        stated = (self.input, self.cached, self.cache_write, self.cache_write_1h)
        prices = [rate.highest(input_tokens) for rate in stated if rate is not None]
        return None if None in prices else max(price for price in prices if price is not None)


class Constraint(Protocol):
    """When a price holds."""

    def active(self, request_timestamp: datetime) -> bool:
        """Whether it holds at that time."""


Dated = tuple[Constraint | None, Rates | None]
"""Rates, and when they hold; None is always, and no rates is a model that is not priced by input tokens."""


@dataclass(frozen=True, slots=True)
class ModelRates:
    """One model's rates over time and by tier."""

    periods: tuple[Dated, ...]
    """At the standard tier; the last one that is active holds."""
    tiers: dict[str, tuple[Dated, ...]]
    """At other tiers, by the provider's word; the first one that is active holds."""
    context_window: int | None
    source: str
    """Which table says so, and its version."""
    vouched_from: date | None = None
    """The first day for which the table states a price; None where it does for all time."""
    beyond_text: bool = False
    """True where tokens of text do not show all that is charged: audio, images, seconds."""
    searches: bool = False
    """True where the model searches by itself, for a fee."""
    everywhere: bool = False
    """True where the prices are those of the very host, whichever it is."""

    def at(self, moment: datetime, tier: str) -> Rates | None:
        """The rates at that time and tier; None where nobody states them."""
        if tier:
            return next((rates for when, rates in self.tiers.get(tier, ()) if _holds(when, moment)), None)
        for when, rates in reversed(self.periods):
            if _holds(when, moment):
                return rates
        return None


def _holds(when: Constraint | None, moment: datetime) -> bool:
    return when is None or when.active(moment)
