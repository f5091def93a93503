"""What a call costs: the bundled price table (offline), the operator's own price file, exact arithmetic.

Prices are nano-USD per million tokens, costs are nano-USD; both are integers. Products are exact and are
rounded half-even once a call. A price nobody knows raises ``PriceUnknown``; it is never zero.

``QODEX_PRICES_FILE`` names a JSON file of prices in USD per million tokens, for models that the table does
not know. Numbers may be text or plain; only ``input`` is needed. The file wins over the table::

    {"my-model": {"input": "1.25", "cached_input": "0.125", "cache_write": "1.5625", "output": "10",
                  "context_window": 128000}}

Without ``cached_input`` or ``cache_write`` those tokens cost what input costs; without ``output`` the model
has no output tokens (embeddings). Names are whole and case does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from pathlib import Path

import genai_prices
from genai_prices import types as table
from genai_prices.data_snapshot import get_snapshot

from lib.errors import PriceUnknown
from lib.pricing.amounts import NANO, parse_usd, plain_usd, usd
from lib.pricing.price_file import FilePrice, read_price_file

__all__ = ["NANO", "Cost", "PriceBook", "Tokens", "UnitPrices", "parse_usd", "plain_usd", "usd"]

TABLE = f"genai-prices {genai_prices.__version__}"
"""The table and its version, as usage rows name it."""

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_LONGEST_NAME = 200
_DATED = re.compile(r"(-preview)?(-?\d{4}-?\d{2}-?\d{2})?", re.ASCII)
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$", re.ASCII)
_PLAIN_UNITS = frozenset(
    {"input_mtok", "cache_read_mtok", "output_mtok", "requests_kcount"}
    # Only with hosted tools, which have no ceiling for that very reason (lib/llm/openai/requests.py).
    | {"web_searches_kcount", "storage_searches_kcount"}
)


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
class UnitPrices:
    """Nano-USD per million tokens, of the tier that applied to the call."""

    input: int
    cached_input: int
    output: int
    cache_write: int
    cache_write_1h: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, and the prices behind it; ``nano`` is rounded half-even, once."""

    nano: int
    unit: UnitPrices
    fees_nano: int
    """What is charged beside tokens, part of ``nano``."""
    table: str
    """Which table gave the prices, and its version."""


@dataclass(frozen=True, slots=True)
class _Rate:
    """One unit's price by size of the call: above ``start`` input tokens the whole call pays ``price``."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        above = [price for start, price in self.tiers if input_tokens > start]
        return above[-1] if above else self.base

    def highest(self, input_tokens: int) -> int:
        return max([self.base, *(price for start, price in self.tiers if input_tokens > start)])


@dataclass(frozen=True, slots=True)
class _Rates:
    """All a model charges during one price period. ``output`` is None where it makes no output tokens."""

    input: _Rate
    cached: _Rate
    cache_write: _Rate
    output: _Rate | None
    per_request: int = 0
    bounded: bool = True
    """False where it also charges for what tokens do not show (audio, images, pages)."""


@dataclass(frozen=True, slots=True)
class _Model:
    periods: tuple[tuple[table.ConditionalPrice | None, _Rates | None], ...]
    context_window: int | None

    def rates(self, at: datetime) -> _Rates | None:
        """The last period that is active; before all of them the first, as the table's own arithmetic."""
        for period, rates in reversed(self.periods):
            if period is None or period.constraint is None or period.constraint.active(at):
                return rates
        return self.periods[0][1]


class PriceBook:
    """Prices by model and time. The time of the call is always an argument; nothing here reads a clock."""

    def __init__(self, own: Mapping[str, FilePrice] | None = None) -> None:
        self._own = {name: _from_file(price) for name, price in (own or {}).items()}

    @classmethod
    def load(cls, prices_file: Path | None) -> PriceBook:
        """Read the operator's file, if there is one.

        Raises:
            SettingsError: names QODEX_PRICES_FILE and the entry that is not usable.
        """
        return cls(read_price_file(prices_file) if prices_file else None)

    def cost(self, model: str, tokens: Tokens, *, at: datetime, provider: str = "openai") -> Cost:
        """Price one call as of its time.

        Raises:
            PriceUnknown: nobody gives a price for this model, or not for the tokens it reports.
        """
        rates = self._rates(model, provider, at)
        if rates.output is None and tokens.output:
            raise PriceUnknown(model)
        if tokens.cache_write_1h:
            raise PriceUnknown(model)
        unit = _unit_prices(rates, tokens.input)
        product = (
            (tokens.input - tokens.cached - tokens.cache_write) * unit.input
            + tokens.cached * unit.cached_input
            + tokens.cache_write * unit.cache_write
            + tokens.output * unit.output
            + rates.per_request
        )
        return Cost(_per_million(product, ROUND_HALF_EVEN), unit, 0, TABLE)

    def ceiling(
        self,
        model: str,
        *,
        input_tokens: int,
        output_tokens: int,
        at: datetime,
        provider: str = "openai",
    ) -> int:
        """Nano-USD that no call of at most these tokens can pass, however they split, rounded up.

        Raises:
            PriceUnknown: there is no price, or the model also charges for what tokens do not show.
        """
        rates = self._rates(model, provider, at)
        if not rates.bounded or (rates.output is None and output_tokens):
            raise PriceUnknown(model)
        dearest = max(rate.highest(input_tokens) for rate in (rates.input, rates.cached, rates.cache_write))
        output = rates.output.highest(input_tokens) if rates.output else 0
        product = input_tokens * dearest + output_tokens * output + rates.per_request
        return _per_million(product, ROUND_CEILING)

    def context_window(self, model: str, *, provider: str = "openai") -> int | None:
        """Most input tokens the model takes; None where nobody says."""
        found = self._model(model, provider)
        return found.context_window if found else None

    def _model(self, model: str, provider: str) -> _Model | None:
        return self._own.get(model.lower()) or _known(model.lower(), provider.lower())

    def _rates(self, model: str, provider: str, at: datetime) -> _Rates:
        found = self._model(model, provider)
        rates = found.rates(at) if found else None
        if rates is None:
            raise PriceUnknown(model)
        return rates


def _per_million(product: int, rounding: str) -> int:
    return int(Decimal(product).scaleb(-6, _EXACT).to_integral_value(rounding))


def _unit_prices(rates: _Rates, input_tokens: int) -> UnitPrices:
    return UnitPrices(
        input=rates.input.at(input_tokens),
        cached_input=rates.cached.at(input_tokens),
        output=rates.output.at(input_tokens) if rates.output else 0,
        cache_write=rates.cache_write.at(input_tokens),
        cache_write_1h=rates.cache_write.at(input_tokens),
    )


# --- the table -------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # names are foreign text (imports): bounded
def _known(model: str, provider: str) -> _Model | None:
    """Look a model up in the table: its whole name, or a dated form of it."""
    if not model or len(model) > _LONGEST_NAME:
        return None
    listed = next((entry for entry in get_snapshot().providers if entry.id == provider), None)
    info = listed and (_find(listed, model) or _find(listed, _with_dashes(model)))
    return _from_table(info) if info else None


def _find(provider: table.Provider, model: str) -> table.ModelInfo | None:
    """The table's own choice (first match wins), unless that match is only the beginning of the name."""
    found = next((info for info in provider.models if info.is_match(model)), None)
    return found if found and any(_names(clause, model) for clause in _clauses(found.match)) else None


def _with_dashes(model: str) -> str:
    return _COMPACT_DATE.sub(r"-\1-\2-\3", model)


def _clauses(match: table.MatchLogic) -> Iterator[table.MatchLogic]:
    if isinstance(match, table.ClauseOr):
        for part in match.or_:
            yield from _clauses(part)
    else:
        yield match


def _names(clause: table.MatchLogic, model: str) -> bool:
    """Whether the clause means this very model.

    ``gpt-5-nano-`` also begins the name of models that do not exist yet and may cost anything, so of a
    beginning only its dated forms are taken; after ``ft:`` follow an owner and a name of their own.
    """
    if not clause.is_match(model):
        return False
    if isinstance(clause, table.ClauseStartsWith):
        prefix = clause.starts_with.lower()
        return "ft" in re.split(r"[:.-]", prefix) or bool(_DATED.fullmatch(model[len(prefix) :]))
    return isinstance(clause, table.ClauseEquals | table.ClauseRegex | table.ClauseAnd)


def _from_table(info: table.ModelInfo) -> _Model:
    if isinstance(info.prices, list):
        periods = tuple((period, _table_rates(period.prices)) for period in info.prices)
        return _Model(periods, info.context_window)
    return _Model(((None, _table_rates(info.prices)),), info.context_window)


def _table_rates(prices: table.ModelPrice) -> _Rates | None:
    """Rates of one period; None where the model is not priced by input tokens (seconds, characters)."""
    listed = {unit: price for unit, price in vars(prices).items() if price is not None}
    if "input_mtok" not in listed:
        return None
    whole = _rate(listed["input_mtok"])
    writes = [_rate(price) for unit, price in listed.items() if unit.startswith("cache_write")]
    return _Rates(
        input=whole,
        cached=_rate(listed["cache_read_mtok"]) if "cache_read_mtok" in listed else whole,
        cache_write=_rate(listed["cache_write_mtok"]) if "cache_write_mtok" in listed else whole,
        output=_rate(listed["output_mtok"]) if "output_mtok" in listed else None,
        per_request=_rate(listed["requests_kcount"]).base * 1000 if "requests_kcount" in listed else 0,
        bounded=set(listed) <= _PLAIN_UNITS | {"cache_write_mtok"} and len(writes) <= 1,
    )


def _rate(price: Decimal | table.TieredPrices) -> _Rate:
    if isinstance(price, table.TieredPrices):
        return _Rate(_nano(price.base), tuple((tier.start, _nano(tier.price)) for tier in price.tiers))
    return _Rate(_nano(price))


def _nano(price: Decimal) -> int:
    return int(price.scaleb(9, _EXACT).to_integral_exact(ROUND_HALF_EVEN))


def _from_file(price: FilePrice) -> _Model:
    whole = _Rate(price.input)
    rates = _Rates(
        input=whole,
        cached=whole if price.cached_input is None else _Rate(price.cached_input),
        cache_write=whole if price.cache_write is None else _Rate(price.cache_write),
        output=None if price.output is None else _Rate(price.output),
    )
    return _Model(((None, rates),), price.context_window)
