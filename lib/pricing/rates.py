"""What one model charges during one period, at one service tier: unit prices that may depend on the call's size.

Prices are nano-USD per million tokens. None is a price that no table states.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Protocol

from lib.pricing.regions import raised


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
class UnitPrices:
    """The prices as they apply to one call: tier, region and long context are in them."""

    input: int
    cached_input: int | None
    output: int | None
    cache_write: int | None
    cache_write_1h: int | None


@dataclass(frozen=True, slots=True)
class Fees:
    """What is charged beside tokens, in nano-USD."""

    per_request: int = 0
    web_searches: int | None = None
    """For a thousand."""
    file_searches: int | None = None
    """For a thousand."""


@dataclass(frozen=True)
class Rates:
    """All that is charged for a call."""

    input: Rate
    cached: Rate | None
    cache_write: Rate | None
    cache_write_1h: Rate | None
    output: Rate | None
    """None where the model makes no output tokens."""
    fees: Fees = Fees()

    def unit_prices(self, input_tokens: int, percent_more: int) -> UnitPrices | None:
        """The prices for a call of this size, so much higher; None where no table states that of input."""
        key = bisect_left(self._steps, input_tokens), percent_more
        if key not in self._found:
            self._found[key] = self._unit_prices(input_tokens, percent_more)
        return self._found[key]

    @cached_property
    def _steps(self) -> list[int]:
        """The sizes beyond which a price changes."""
        starts = {start for rate in self._stated for start, _ in rate.tiers}
        return sorted(starts | {rate.known_up_to for rate in self._stated if rate.known_up_to is not None})

    @cached_property
    def _found(self) -> dict[tuple[int, int], UnitPrices | None]:
        """What was asked for: few, and the same for thousands of calls."""
        return {}

    @cached_property
    def _stated(self) -> list[Rate]:
        rates = (self.input, self.cached, self.cache_write, self.cache_write_1h, self.output)
        return [rate for rate in rates if rate is not None]

    def _unit_prices(self, input_tokens: int, percent_more: int) -> UnitPrices | None:
        def price(rate: Rate | None) -> int | None:
            stated = rate.at(input_tokens) if rate else None
            return None if stated is None else raised(stated, percent_more)

        whole = price(self.input)
        if whole is None:
            return None
        return UnitPrices(
            whole, price(self.cached), price(self.output), price(self.cache_write), price(self.cache_write_1h)
        )

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
    takes_media: bool = False
    """True where input of sound or pictures has prices of its own, and answers tell how much of it there was."""
    searches: bool = False
    """True where the model searches by itself, for a fee."""
    everywhere: bool = False
    """True where the prices are those of the very host, whichever it is."""

    def vouches_for(self, moment: datetime) -> bool:
        """Whether the table states a price for that day of UTC at all."""
        return self.vouched_from is None or moment.astimezone(UTC).date() >= self.vouched_from

    def at(self, moment: datetime, tier: str) -> Rates | None:
        """The rates at that time and tier; None where no table states them."""
        if tier:
            return next((rates for when, rates in self.tiers.get(tier, ()) if _holds(when, moment)), None)
        for when, rates in reversed(self.periods):
            if _holds(when, moment):
                return rates
        return None


def _holds(when: Constraint | None, moment: datetime) -> bool:
    return when is None or when.active(moment)
