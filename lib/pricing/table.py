"""The bundled price table (genai-prices, offline): a model's rates by period and tier, as far as it vouches for them.

The table never says that it does not know: a tier without a price, a day before its first price and the name of
an unknown model that begins like a known one all get the standard price of today there. Here they get none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

import genai_prices
from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from lib.pricing import table_gaps
from lib.pricing.rates import Dated, Fees, ModelRates, Rate, Rates

SOURCE = f"genai-prices-{genai_prices.__version__}"
"""The table and its version, as usage rows name it."""
MADE: date | None = table_gaps.MADE.get(genai_prices.__version__)
"""When it was made; None for a version that is newer than this program."""

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_LONGEST_NAME = 200
_DATED = re.compile(r"(-preview)?(-?\d{4}-?\d{2}-?\d{2})?", re.ASCII)
_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$", re.ASCII)
_FINE_TUNED = re.compile(r"(^|\.)ft[:-]")
_TEXT_KEYS = frozenset({"input_mtok", "cache_read_mtok", "output_mtok", "requests_kcount"}) | frozenset(
    {"cache_write_mtok", "cache_write_1h_mtok", "web_searches_kcount", "storage_searches_kcount"}
)
_TIER_NAMES = ("service_tier", "processing", "speed")

Price = Decimal | types.TieredPrices
Listed = dict[str, Price]


@lru_cache(maxsize=4096)  # names are foreign text (imports): bounded
def look_up(model: str, provider: str) -> ModelRates | None:
    """Look a model up: its whole name, or a dated form of it. Both names in small letters."""
    if not model or len(model) > _LONGEST_NAME or table_gaps.MOVES.fullmatch(model):
        return None
    listed = next((entry for entry in get_snapshot().providers if entry.id == provider), None)
    info = listed and (_find(listed, model) or _find(listed, _with_dashes(model)))
    return _rates_of(info, model, provider) if info else None


# --- names -----------------------------------------------------------------------------------------


def _find(provider: types.Provider, model: str) -> types.ModelInfo | None:
    """The table's own choice (first match wins), unless that match is only the beginning of the name."""
    found = next((info for info in provider.models if info.is_match(model)), None)
    return found if found and any(_names(clause, model) for clause in _clauses(found.match)) else None


def _with_dashes(model: str) -> str:
    return _COMPACT_DATE.sub(r"-\1-\2-\3", model)


def _clauses(match: types.MatchLogic) -> Iterator[types.MatchLogic]:
    if isinstance(match, types.ClauseOr):
        for part in match.or_:
            yield from _clauses(part)
    else:
        yield match


def _names(clause: types.MatchLogic, model: str) -> bool:
    """Whether the clause means this very model.

    ``gpt-5-nano-`` also begins the name of models that do not exist yet and may cost anything, so of a
    beginning only its dated forms are taken; after ``ft:`` follow an owner and a name of their own.
    """
    if not clause.is_match(model):
        return False
    if isinstance(clause, types.ClauseStartsWith):
        prefix = clause.starts_with.lower()
        return "ft" in re.split(r"[:.-]", prefix) or bool(_DATED.fullmatch(model[len(prefix) :]))
    return isinstance(clause, types.ClauseEquals | types.ClauseRegex | types.ClauseAnd)


# --- rates -----------------------------------------------------------------------------------------


def _rates_of(info: types.ModelInfo, model: str, provider: str) -> ModelRates:
    dated = info.prices if isinstance(info.prices, list) else [types.ConditionalPrice(prices=info.prices)]
    listed = [_listed(period.prices) for period in dated]
    told = table_gaps.MEDIA_TOLD.get(provider, frozenset())
    return ModelRates(
        periods=tuple(
            (period.constraint, _standard(prices, model))
            for period, prices in zip(dated, listed, strict=True)
        ),
        tiers=_tiers(info, listed[-1], model),
        context_window=info.context_window,
        source=SOURCE,
        vouched_from=_vouched_from(info, provider),
        beyond_text=any(set(prices) - _TEXT_KEYS - told for prices in listed)
        or bool(table_gaps.BEYOND_TEXT.search(model)),
        takes_media=any(set(prices) & told for prices in listed),
        searches=bool(table_gaps.SEARCHES_BY_ITSELF.search(model)),
    )


def _listed(prices: types.ModelPrice) -> Listed:
    return {unit: price for unit, price in vars(prices).items() if price is not None}


def _vouched_from(info: types.ModelInfo, provider: str) -> date:
    """A dated price was read on its day, and so was the standard price beside it; one without is of the table's day."""
    dated = info.prices if isinstance(info.prices, list) else []
    constraints = [part.constraint for part in (*dated, *(info.price_variants or ()))]
    known = [each.start_date for each in constraints if isinstance(each, types.StartDateConstraint)]
    if since := table_gaps.SAME_SINCE.get(provider, {}).get(info.id):
        known.append(since)
    return min(known, default=MADE or max(table_gaps.MADE.values()))


def _standard(listed: Listed, model: str) -> Rates | None:
    """Rates of one period; None where the model is not priced by input tokens (seconds, characters)."""
    if "input_mtok" not in listed:
        return None
    up_to = next((size for name, size in table_gaps.NO_LONG_RATE.items() if name.search(model)), None)
    rates = {unit: _rate(price, up_to) for unit, price in listed.items() if unit in _TEXT_KEYS}
    whole = rates["input_mtok"]
    # Older models write to the cache for free, and read from it at the full price; of fine-tuned ones the
    # table leaves out what they pay less.
    read = None if _FINE_TUNED.search(model) else whole
    return Rates(
        input=whole,
        cached=rates.get("cache_read_mtok", read),
        cache_write=rates.get("cache_write_mtok", whole),
        cache_write_1h=rates.get("cache_write_1h_mtok"),
        output=rates.get("output_mtok"),
        fees=_fees(listed, model),
    )


def _tiers(info: types.ModelInfo, standard: Listed, model: str) -> dict[str, tuple[Dated, ...]]:
    """Rates of the variants that one word alone selects. Nothing is filled in from the standard tier."""
    found: dict[str, tuple[Dated, ...]] = {}
    for variant in info.price_variants or ():
        (name, word), *more = variant.when.items()
        if not more and name in _TIER_NAMES and word != "default":
            rates = _of_tier(_listed(variant.prices), standard, model)
            found[word] = (*found.get(word, ()), (variant.constraint, rates))
    return found


def _of_tier(listed: Listed, standard: Listed, model: str) -> Rates | None:
    if "input_mtok" not in listed:
        return None
    rates = {unit: _rate(price, _flat_up_to(price, standard.get(unit))) for unit, price in listed.items()}
    whole, apart = rates["input_mtok"], "cache_read_mtok" in standard
    # What the standard tier prices apart and this one does not is unknown; the rest is plain input here too.
    return Rates(
        input=whole,
        cached=rates.get("cache_read_mtok", None if apart or _FINE_TUNED.search(model) else whole),
        cache_write=rates.get("cache_write_mtok", None if "cache_write_mtok" in standard else whole),
        cache_write_1h=rates.get("cache_write_1h_mtok"),
        output=rates.get("output_mtok"),
        fees=_fees(standard, model),  # published by call, whatever the tier
    )


def _flat_up_to(price: Price, standard: Price | None) -> int | None:
    """Where the standard price rises with the call's size and this one does not, its rise is not published."""
    if isinstance(price, types.TieredPrices) or not isinstance(standard, types.TieredPrices):
        return None
    return min(tier.start for tier in standard.tiers)


def _fees(listed: Listed, model: str) -> Fees:
    thousand = {unit: _rate(price).base for unit, price in listed.items() if unit.endswith("_kcount")}
    varies = table_gaps.SEARCH_FEE_VARIES.match(model)
    return Fees(
        per_request=-(-thousand.get("requests_kcount", 0) // 1000),
        web_searches=None if varies else thousand.get("web_searches_kcount"),
        file_searches=thousand.get("storage_searches_kcount"),
    )


def _rate(price: Price, known_up_to: int | None = None) -> Rate:
    if isinstance(price, types.TieredPrices):
        tiers = tuple((tier.start, _nano(tier.price)) for tier in price.tiers)
        return Rate(_nano(price.base), tiers, known_up_to)
    return Rate(_nano(price), known_up_to=known_up_to)


def _nano(price: Decimal) -> int:
    return int(price.scaleb(9, _EXACT).to_integral_exact(ROUND_HALF_EVEN))
