"""Reading the operator's price file (``QODEX_PRICES_FILE``); its format stands in lib/pricing/prices.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from lib.errors import SettingsError

VARIABLE = "QODEX_PRICES_FILE"
_PRICES = ("input", "cached_input", "cache_write", "output")
_FIELDS = frozenset({*_PRICES, "context_window"})
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


def read_price_file(path: Path) -> dict[str, FilePrice]:
    """Return the file's prices by lower-case model name.

    Raises:
        SettingsError: names the variable, and the entry at fault.
    """
    entries = _read(path)
    if not isinstance(entries, dict):
        raise SettingsError(VARIABLE, f"{path} must hold one JSON object: model names and their prices")
    prices: dict[str, FilePrice] = {}
    for name, entry in entries.items():
        if not name.strip() or name.lower() in prices:
            raise SettingsError(VARIABLE, f"the entry {name!r} is empty or stands there twice")
        prices[name.lower()] = _entry(name, entry)
    return prices


def _read(path: Path) -> object:
    try:
        return json.loads(
            path.read_text("utf-8"), parse_float=Decimal, parse_int=Decimal, object_pairs_hook=_once
        )
    except OSError:
        problem = f"{path} cannot be read"
    except (ValueError, RecursionError) as error:
        problem = f"{path} is not usable JSON: {error}"
    raise SettingsError(VARIABLE, problem)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands there twice")
    return dict(pairs)


def _entry(name: str, entry: object) -> FilePrice:
    if not isinstance(entry, dict):
        raise SettingsError(VARIABLE, f'{name}: write it as {{"input": "1.25", "output": "10"}}')
    if unknown := sorted(set(entry) - _FIELDS):
        raise SettingsError(VARIABLE, f"{name}: {unknown[0]!r} is none of {', '.join(sorted(_FIELDS))}")
    if entry.get("input") is None:
        raise SettingsError(VARIABLE, f"{name}: input is missing (USD per million tokens)")
    prices = {field: _price(name, field, entry.get(field)) for field in _PRICES}
    return FilePrice(
        input=prices["input"] or 0,
        cached_input=prices["cached_input"],
        cache_write=prices["cache_write"],
        output=prices["output"],
        context_window=_window(name, entry.get("context_window")),
    )


def _price(name: str, field: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        price = Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        price = None
    if not isinstance(price, Decimal) or not price.is_finite() or not 0 <= price <= _DEAREST:
        raise SettingsError(VARIABLE, f"{name}: {field} must be USD per million tokens, such as 1.25")
    places = price.normalize().as_tuple().exponent
    if isinstance(places, int) and places < _NANO_PLACES:
        raise SettingsError(VARIABLE, f"{name}: {field} has more than nine decimals")
    return int(price.scaleb(-_NANO_PLACES))


def _window(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, Decimal) or value != value.to_integral_value() or value <= 0:
        raise SettingsError(VARIABLE, f"{name}: context_window must be a whole number of tokens")
    return int(value)
