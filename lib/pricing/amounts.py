"""Amounts of money: nano-USD in storage, exact decimals in view, text that a spreadsheet reads."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

from lib.errors import BadInput

NANO = 1_000_000_000  # nano-USD in a USD
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_LARGEST_AMOUNT = Decimal(9_000_000_000)  # fits the 64 bits of storage in nano-USD
_AMOUNT = re.compile(r"[-+]?(\d{1,10}(\.\d{0,60})?|\.\d{1,60})([eE][-+]?\d{1,2})?", re.ASCII)


def usd(nano: int) -> Decimal:
    """Nano-USD as exact USD."""
    return Decimal(nano).scaleb(-9, _EXACT)


def plain_usd(nano: int | None) -> str:
    """USD as a plain decimal of at most nine places, no exponent, no trailing zeros; empty where unknown."""
    if nano is None:
        return ""
    whole, places = f"{usd(nano):.9f}".split(".")
    return f"{whole}.{places.rstrip('0')}".rstrip(".")


def parse_usd(text: str) -> int:
    """Read an amount in USD as nano-USD; more than nine places are rounded half-even.

    Raises:
        BadInput: not a plain number.
    """
    typed = text.strip()
    amount = Decimal(typed) if _AMOUNT.fullmatch(typed) else None
    if amount is None or abs(amount) > _LARGEST_AMOUNT:
        raise BadInput("An amount in USD is a plain number, such as 12.50.")
    return int(_EXACT.scaleb(amount, 9).to_integral_value(ROUND_HALF_EVEN))
