"""The operator's own prices (``QODEX_PRICES_FILE``): for models that the table does not know, and negotiated ones.

A JSON file of prices in USD per million tokens, by provider and model, each with the day (UTC) from which it holds::

    {"PROVIDER": {"a-model": [{"from": "2026-07-01", "input": "1.10", "cached_input": "0.11", "output": "8.80"},
                              {"from": "2026-10-01", "input": "1.00", "cached_input": "0.10", "output": "8"}],
                  "my-model": {"input": "1.25", "output": "10", "context_window": 128000}}}

Numbers may be text or plain; only ``input`` is needed. Without ``from`` a price holds for all time; before the first
day the table's price does. Without ``cached_input`` or ``cache_write`` those tokens cost what input costs; without ``cache_write_1h`` the price of
what is kept for an hour is unknown; without
``output`` the model has no output tokens (embeddings). A price holds at the standard tier and at whatever host calls
go to. Names are whole and case does not matter. A file of before, with models and no providers around them, is
read as the default provider's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from lib.errors import SettingsError
from lib.pricing.names import without_date
from lib.pricing.rates import ModelRates, Rate, Rates
from lib.providers import DEFAULT

VARIABLE = "QODEX_PRICES_FILE"
EXAMPLE = f'{{"{DEFAULT}": {{"my-model": [{{"from": "2026-01-01", "input": "1.25", "output": "10"}}]}}}}'
_PRICES = ("input", "cached_input", "cache_write", "cache_write_1h", "output")
_FIELDS = frozenset({*_PRICES, "context_window", "from"})
_DEAREST = Decimal(1_000_000)
_NANO_PLACES = -9


@dataclass(frozen=True, slots=True)
class FilePrice:
    """One entry: nano-USD per million tokens, None where the file says nothing."""

    input: int
    cached_input: int | None
    cache_write: int | None
    output: int | None
    context_window: int | None
    starts: date | None = None
    """The first day (UTC) on which it holds; None for all time."""
    cache_write_1h: int | None = None


@dataclass(frozen=True, slots=True)
class _From:
    """Holds from this day on."""

    day: date

    def active(self, request_timestamp: datetime) -> bool:
        return request_timestamp.astimezone(UTC).date() >= self.day


Entries = Mapping[tuple[str, str], list[FilePrice]]
"""By provider and model, in small letters; in the order of their days."""


@dataclass(frozen=True)
class PriceFile:
    """The prices of one file, and what usage rows call it."""

    entries: Entries = field(default_factory=dict)
    source: str = "own-prices"

    def find(self, model: str, provider: str, at: datetime | None = None) -> ModelRates | None:
        """A model's own prices that hold at that time, or at any; a dated name has those of the plain one, too.

        Both names in small letters.
        """
        if not self.entries:
            return None
        found = (self._models.get((provider, name)) for name in (model, without_date(model)))
        return next((each for each in found if each and (at is None or each.at(at, ""))), None)

    @cached_property
    def _models(self) -> dict[tuple[str, str], ModelRates]:
        return {key: _model(prices, self.source) for key, prices in self.entries.items()}


NO_FILE = PriceFile()


def _model(prices: list[FilePrice], source: str) -> ModelRates:
    windows = [price.context_window for price in prices if price.context_window is not None]
    return ModelRates(
        periods=tuple((_From(price.starts) if price.starts else None, _rates(price)) for price in prices),
        tiers={},
        context_window=windows[-1] if windows else None,
        source=source,
        everywhere=True,
    )


def _rates(price: FilePrice) -> Rates:
    whole = Rate(price.input)
    return Rates(
        input=whole,
        cached=whole if price.cached_input is None else Rate(price.cached_input),
        cache_write=whole if price.cache_write is None else Rate(price.cache_write),
        cache_write_1h=None if price.cache_write_1h is None else Rate(price.cache_write_1h),
        output=None if price.output is None else Rate(price.output),
    )


# --- reading ---------------------------------------------------------------------------------------


def read_price_file(path: Path) -> PriceFile:
    """Read the file; its source carries the first letters of its SHA-256, so that rows tell one state from another.

    Raises:
        SettingsError: names the variable, and the entry at fault.
    """
    content, found = _read(path)
    if not isinstance(found, dict):
        raise _unusable(f"{path} must hold one JSON object, such as {EXAMPLE}")
    entries: dict[tuple[str, str], list[FilePrice]] = {}
    for name, value in found.items():
        provider, models = (name, value) if _is_provider(value) else (DEFAULT, {name: value})
        for model, told in models.items():
            key = provider.strip().lower(), model.lower()
            if not all(part.strip() for part in key) or key in entries:
                raise _unusable(f"the entry {model!r} is empty or stands there twice")
            entries[key] = _dated(model, told)
    return PriceFile(entries, f"own-prices-{sha256(content).hexdigest()[:8]}")


def _unusable(problem: str) -> SettingsError:
    return SettingsError(VARIABLE, problem)


def _read(path: Path) -> tuple[bytes, object]:
    try:
        content = path.read_bytes()
        return content, json.loads(
            content.decode("utf-8-sig"), parse_float=Decimal, parse_int=Decimal, object_pairs_hook=_once
        )
    except OSError:
        problem = f"{path} cannot be read"
    except (ValueError, RecursionError) as error:
        problem = f"{path} is not usable JSON: {error}"
    raise _unusable(problem)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands there twice")
    return dict(pairs)


def _is_provider(value: object) -> bool:
    """Whether models stand in it; the price of a model holds no objects."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(each, dict | list) for each in value.values())
    )


def _dated(model: str, told: object) -> list[FilePrice]:
    """A model's prices in the order of their days."""
    prices = [_entry(model, each) for each in (told if isinstance(told, list) else [told])]
    days = [price.starts or date.min for price in prices]
    if not prices or len(set(days)) < len(days):
        raise _unusable(f"{model}: each price needs a day of its own, such as {EXAMPLE}")
    return sorted(prices, key=lambda price: price.starts or date.min)


def _entry(name: str, entry: object) -> FilePrice:
    if not isinstance(entry, dict):
        raise _unusable(f"{name}: write it as {EXAMPLE}")
    if unknown := sorted(set(entry) - _FIELDS):
        raise _unusable(f"{name}: {unknown[0]!r} is none of {', '.join(sorted(_FIELDS))}")
    if entry.get("input") is None:
        raise _unusable(f"{name}: input is missing (USD per million tokens)")
    prices = {each: _price(name, each, entry.get(each)) for each in _PRICES}
    return FilePrice(
        input=prices["input"] or 0,
        cached_input=prices["cached_input"],
        cache_write=prices["cache_write"],
        output=prices["output"],
        context_window=_window(name, entry.get("context_window")),
        starts=_day(name, entry.get("from")),
        cache_write_1h=prices["cache_write_1h"],
    )


def _price(name: str, field_name: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        price = Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        price = None
    if not isinstance(price, Decimal) or not price.is_finite() or not 0 <= price <= _DEAREST:
        raise _unusable(f"{name}: {field_name} must be USD per million tokens, such as 1.25")
    places = price.normalize().as_tuple().exponent
    if isinstance(places, int) and places < _NANO_PLACES:
        raise _unusable(f"{name}: {field_name} has more than nine decimals")
    return int(price.scaleb(-_NANO_PLACES))


def _window(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, Decimal) or value != value.to_integral_value() or value <= 0:
        raise _unusable(f"{name}: context_window must be a whole number of tokens")
    return int(value)


def _day(name: str, value: object) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _no_day(name)
    except ValueError:
        return _no_day(name)


def _no_day(name: str) -> date:
    raise _unusable(f"{name}: from must be a day, such as 2026-01-01")
