"""What a call costs, and the most it can cost: the price table, the operator's own price file, exact arithmetic.

Prices are nano-USD per million tokens, costs are nano-USD; both are integers. Products are exact and are
rounded half-even once a call. What changes a price is priced, or the price is unknown (``PriceUnknown``): a
tier or a region that the provider does not state, a day for which the table does not vouch, models that bill
more than text, hosted tools whose number is not told. An unknown price is never zero and never the standard
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

from lib.errors import PriceUnknown
from lib.pricing import table
from lib.pricing.names import are_forms_of_one
from lib.pricing.price_file import NO_FILE, PriceFile, read_price_file
from lib.pricing.rates import Fees, ModelRates, Rates, UnitPrices
from lib.pricing.regions import most_percent_more, percent_more, raised
from lib.pricing.terms import STANDARD, Terms
from lib.pricing.tool_calls import ToolCalls
from lib.providers import DEFAULT

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one call. ``cached`` and ``cache_write`` are parts of ``input``, ``reasoning`` of ``output``.

    Raises:
        ValueError: the numbers contradict each other.
    """

    input: int
    cached: int
    output: int
    reasoning: int
    cache_write: int = 0
    cache_write_1h: int = 0

    def __post_init__(self) -> None:
        written = self.cache_write, self.cache_write_1h
        if min(self.input, self.cached, self.output, self.reasoning, *written) < 0:
            raise ValueError("a number of tokens is negative")
        if self.cached + sum(written) > self.input or self.reasoning > self.output:
            raise ValueError("a part has more tokens than the whole")


NO_TOKENS = Tokens(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, and the prices behind it; ``nano`` is rounded half-even, once."""

    nano: int
    unit: UnitPrices
    fees_nano: int
    """What is charged beside tokens, part of ``nano``."""
    table: str
    """Which table gave the prices, and its version."""
    region: str
    """The host's region where it changed the prices, else empty."""


class PriceBook:
    """Prices by model and time. The time of the call is always an argument; nothing here reads a clock."""

    def __init__(self, own: PriceFile = NO_FILE) -> None:
        self._own = own

    @property
    def own_source(self) -> str:
        """What usage rows call the operator's file; empty where there is none."""
        return self._own.source if self._own.entries else ""

    @classmethod
    def load(cls, prices_file: Path | None) -> PriceBook:
        """Read the operator's file, if there is one.

        Raises:
            SettingsError: names QODEX_PRICES_FILE and the entry that is not usable.
        """
        return cls(read_price_file(prices_file) if prices_file else NO_FILE)

    def cost(
        self,
        model: str,
        tokens: Tokens,
        *,
        at: datetime,
        provider: str = DEFAULT,
        terms: Terms = STANDARD,
    ) -> Cost:
        """Price one call as of its time: the model that answered, which is not always the one asked for.

        Raises:
            PriceUnknown: no table states a price for that model at these terms, or not for all that it used.
        """
        priced = self._priced_name(model, provider, at, terms.served_model)
        found, rates = self._rates(priced, provider, at, terms)
        percent = 0 if found.everywhere else percent_more(provider, priced, terms.region)
        unit = None if percent is None else rates.unit_prices(tokens.input, percent)
        # Whether a region's ten per cent are added to fees as well, the provider does not say.
        fees = None if percent and terms.tools else _fees_nano(rates.fees, terms.tools)
        not_told = found.searches and not terms.tools.web_searches
        if unit is None or fees is None or not_told or (nano := cost_at(tokens, unit, fees)) is None:
            raise PriceUnknown(model)
        return Cost(nano, unit, fees, found.source, terms.region if percent else "")

    def ceiling(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        at: datetime,
        provider: str = DEFAULT,
        terms: Terms = STANDARD,
    ) -> int:
        """Nano-USD that no call of at most these tokens can pass, however they split, rounded up.

        Raises:
            PriceUnknown: no table states a price, or the model also charges for what tokens do not show.
        """
        found, rates = self._rates(model, provider, at, terms)
        percent = 0 if found.everywhere else percent_more(provider, model, terms.region)
        more = most_percent_more(provider, terms.region) if percent is None else percent
        dearest = rates.dearest_input(input_tokens)
        output = rates.output.highest(input_tokens) if rates.output else None if output_tokens else 0
        if found.searches or dearest is None or output is None or more is None:
            raise PriceUnknown(model)
        product = input_tokens * raised(dearest, more) + output_tokens * raised(output, more)
        return _per_million(product + rates.fees.per_request * _MILLION, ROUND_CEILING)

    def context_window(self, model: str, *, provider: str = DEFAULT) -> int | None:
        """Most input tokens the model takes, by the operator's file or else by the table; None where neither says."""
        name, of = model.lower(), provider.lower()
        windows = (
            found.context_window for found in (self._own.find(name, of), table.look_up(name, of)) if found
        )
        return next((window for window in windows if window is not None), None)

    def _priced_name(self, asked: str, provider: str, at: datetime, served: str) -> str:
        """The name that has the price: what answered, or what was asked for where that is a form of the same name."""
        if (
            not served
            or served == asked
            or (are_forms_of_one(served, asked) and self._find(served.lower(), provider.lower(), at) is None)
        ):
            return asked
        return served

    def _rates(self, model: str, provider: str, at: datetime, terms: Terms) -> tuple[ModelRates, Rates]:
        found = self._find(model.lower(), provider.lower(), at)
        if found is None or found.beyond_text or not found.vouches_for(at):
            raise PriceUnknown(model)
        if found.takes_media and not terms.text_only:
            raise PriceUnknown(model)
        rates = found.at(at, terms.tier)
        if rates is None:
            raise PriceUnknown(model)
        return found, rates

    def _find(self, model: str, provider: str, at: datetime) -> ModelRates | None:
        """The operator's own price where one holds by then, else the table's."""
        return self._own.find(model, provider, at) or table.look_up(model, provider)


def cost_at(tokens: Tokens, unit: UnitPrices, fees_nano: int) -> int | None:
    """Cost of a call at these prices in nano-USD, rounded half-even; None where something it used has no price."""
    if not _states_all(unit, tokens):
        return None
    return _per_million(_product(tokens, unit) + fees_nano * _MILLION, ROUND_HALF_EVEN)


def _product(tokens: Tokens, unit: UnitPrices) -> int:
    """Nano-USD times a million."""
    plain = tokens.input - tokens.cached - tokens.cache_write - tokens.cache_write_1h
    return (
        plain * unit.input
        + tokens.cached * (unit.cached_input or 0)
        + tokens.cache_write * (unit.cache_write or 0)
        + tokens.cache_write_1h * (unit.cache_write_1h or 0)
        + tokens.output * (unit.output or 0)
    )


def _per_million(product: int, rounding: str) -> int:
    return int(Decimal(product).scaleb(-6, _EXACT).to_integral_value(rounding))


def _states_all(unit: UnitPrices, tokens: Tokens) -> bool:
    """Whether there is a price for everything that the call used."""
    return not (
        (tokens.output and unit.output is None)
        or (tokens.cached and unit.cached_input is None)
        or (tokens.cache_write and unit.cache_write is None)
        or (tokens.cache_write_1h and unit.cache_write_1h is None)
    )


def _fees_nano(fees: Fees, tools: ToolCalls) -> int | None:
    """What the calls of hosted tools cost; None where no table states the fee."""
    if not tools:
        return fees.per_request
    charged = ((tools.web_searches, fees.web_searches), (tools.file_searches, fees.file_searches))
    if any(count and fee is None for count, fee in charged):
        return None
    return fees.per_request + sum(-(-count * (fee or 0) // 1000) for count, fee in charged)
