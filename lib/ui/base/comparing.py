"""How numbers that stand beside each other are written: what changed, and parts that add up to their whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from lib.formatting import MINUS, Decimals, decimals, money

_CENT = 10_000_000  # nano-USD
_NEW = 100  # times what was before: from there on the percents say nothing


def change(now: int, before: int) -> str | None:
    """Signed change in percent, ``+2.6%`` or ``-1.9%`` (with a true minus sign).

    ``new`` where there was nothing before, or next to nothing; None where there is nothing to compare at all.
    """
    if now > _NEW * max(before, 0):
        return "new"
    if before <= 0:
        return None
    size = (Decimal(100) * (now - before) / before).quantize(Decimal("0.1"), ROUND_HALF_EVEN)
    return f"{MINUS if size < 0 else '+'}{abs(size):,}%" if size else "0.0%"


def signed_money(nano: int, places: Decimals | None = None) -> str:
    """``+$3.10``, ``-$2.90`` (with a true minus sign), ``$0.00``: by how much an amount in nano-USD changed."""
    return _signed(nano, money(nano, places))


def signed_moneys_adding_up(*parts: int, places: Decimals | None = None) -> list[str]:
    """Changes in nano-USD, rounded so that they give their rounded sum; ``places`` as for ``money_adding_up``."""
    texts = money_adding_up(*parts, places=places)
    return [_signed(part, text) for part, text in zip(parts, texts, strict=True)]


def _signed(nano: int, text: str) -> str:
    return f"+{text}" if nano > 0 else text


def difference(now: int, before: int) -> str:
    """Signed change of a small number: ``+2``, ``-1`` (with a true minus sign), ``±0``."""
    size = now - before
    return f"{MINUS if size < 0 else '+'}{abs(size):,}" if size else "±0"


def points(part: int, whole: int, part_before: int, whole_before: int) -> str | None:
    """How a share changed, in percentage points: ``+0.4 pt``; None where there was nothing before."""
    if whole <= 0 or whole_before <= 0:
        return None
    size = Decimal(100) * part / whole - Decimal(100) * part_before / whole_before
    size = size.quantize(Decimal("0.1"), ROUND_HALF_EVEN)
    return f"{MINUS if size < 0 else '+'}{abs(size)} pt" if size else "0.0 pt"


def money_adding_up(*parts: int | None, places: Decimals | None = None) -> list[str]:
    """Amounts in nano-USD as texts of equal decimals, rounded so that they give their rounded sum.

    Each part is less than the last decimal from what it is: of those that were rounded down, the ones that lost
    most are rounded up. Unknown parts are in no sum.

    Args:
        *parts: the amounts; None is unknown.
        places: the decimals of the column or series they stand in; without it what the parts need.
    """
    places = decimals(parts) if places is None else places
    known = [part for part in parts if part is not None]
    rounded = iter(_adding_up(known, 10 ** (9 - places)))
    return [money(None) if part is None else money(next(rounded) or min(part, 1), places) for part in parts]


def cents_adding_up(parts: Sequence[int]) -> list[int]:
    """Amounts in nano-USD for columns of cents: as they are, or whole cents where their own would not add up."""
    shown = [int((Decimal(part) / _CENT).to_integral_value(ROUND_HALF_EVEN)) * _CENT for part in parts]
    rounded = _adding_up(parts, _CENT)
    return list(parts) if sum(shown) == sum(rounded) else rounded


def _adding_up(parts: Sequence[int], unit: int) -> list[int]:
    """Whole units in nano-USD, by the largest remainder."""
    floors = [part // unit for part in parts]
    total = int((Decimal(sum(parts)) / unit).to_integral_value(ROUND_HALF_EVEN))
    by_remainder = sorted(range(len(parts)), key=lambda place: -(parts[place] % unit))
    for place in by_remainder[: total - sum(floors)]:
        floors[place] += 1
    return [whole * unit for whole in floors]
